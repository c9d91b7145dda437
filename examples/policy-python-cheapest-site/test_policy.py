"""What the policy promises, each promise once."""

import unittest

import tidegate
from policy import SETTINGS, decide

PRICES = {"oslo": 3, "dublin": 4.5, "frankfurt": 6}


def fleet(active, **status):
    """Three sites, all well but those that are said to be otherwise."""
    ranks = enumerate(["frankfurt", "dublin", "oslo"], start=1)
    look = {name: {"status": status.get(name, "healthy")} for name in PRICES}
    sites = [{"site": name, "rank": rank, "consensus": look[name]} for rank, name in ranks]
    return {"active-site": active, "sites": sites}


class Claims(unittest.TestCase):
    def test_goes_where_it_is_cheap_and_leaves_what_is_lost(self):
        cases = [
            ("a saving that is worth it", fleet("frankfurt"), "switch-over", "oslo"),
            ("the cheapest does not work", fleet("frankfurt", oslo="unhealthy"), "switch-over", "dublin"),
            ("lost, and the cheapest works", fleet("frankfurt", frankfurt="unhealthy"), "fail-over", "oslo"),
            ("lost, and dear is better than nothing", fleet("oslo", oslo="unhealthy", dublin="unknown"), "fail-over", "frankfurt"),
        ]
        for story, situation, verdict, to in cases:
            with self.subTest(story):
                said = decide(situation, {"prices": PRICES, "worth": 1})["verdict"]
                self.assertEqual(said[verdict]["to-site"], to)

    def test_stays_for_less_than_it_is_worth_and_while_anything_is_unclear(self):
        cases = [
            ("a small saving", fleet("dublin"), 2),
            ("nobody knows", fleet("frankfurt", frankfurt="unknown"), 1),
            ("nothing else works", fleet("frankfurt", frankfurt="unhealthy", oslo="unknown", dublin="unknown"), 1),
        ]
        for story, situation, worth in cases:
            with self.subTest(story):
                self.assertEqual(decide(situation, {"prices": PRICES, "worth": worth})["verdict"], "hold")

    def test_a_site_without_a_price_is_no_place_to_be(self):
        with self.assertRaises(tidegate.Declined):
            decide(fleet("frankfurt"), {"prices": {"oslo": 3}, "worth": 1})

    def test_refuses_settings_that_make_no_sense(self):
        for text, at in [("{}", ""), ('{"prices": {"oslo": "3"}}', "/prices/oslo"), ('{"prices": {}, "worth": -1}', "/worth")]:
            with self.subTest(text):
                self.assertEqual(tidegate.settings(text, SETTINGS)[1][0][0], at)


if __name__ == "__main__":
    unittest.main()
