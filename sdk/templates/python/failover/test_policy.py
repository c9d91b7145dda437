"""What the policy promises, each promise once."""

import unittest

import tidegate
from policy import SETTINGS, decide


def site(name, rank, status, held=60_000):
    return {"site": name, "rank": rank, "consensus": {"status": status, "held": held}}


def fleet(west, north="unhealthy", east="healthy", held=60_000):
    """Only what the policy looks at; the whole is what `tidegate policy eval --example` prints."""
    sites = [site("west", 1, west, held), site("north", 2, north), site("east", 3, east)]
    return {"active-site": "west", "sites": sites}


class Claims(unittest.TestCase):
    def test_stays_as_long_as_it_is_not_sure(self):
        cases = [
            ("it works", fleet("healthy"), "in-place"),
            ("nobody knows", fleet("unknown"), "in-place"),
            ("it has only just been lost", fleet("unhealthy", held=9_999), "not-yet-sure"),
        ]
        for story, situation, code in cases:
            with self.subTest(story):
                decision = decide(situation, {"patience-seconds": 10})
                self.assertEqual((decision["verdict"], decision["reasons"][0]["code"]), ("hold", code))

    def test_leaves_a_lost_site_for_the_best_one_that_works_and_says_why_not_for_another(self):
        decision = decide(fleet("unhealthy", held=10_000), {"patience-seconds": 10})
        self.assertEqual(decision["verdict"]["fail-over"]["to-site"], "east")
        self.assertEqual([veto["candidate"] for veto in decision["vetoes"]], [{"site": "north"}])

    def test_goes_nowhere_if_nothing_works(self):
        decision = decide(fleet("unhealthy", east="unknown"), {"patience-seconds": 10})
        self.assertEqual((decision["verdict"], decision["analysis"]), ("hold", "nowhere-to-go"))

    def test_refuses_settings_that_it_does_not_have(self):
        for text in ['{"patience": 10}', '{"patience-seconds": "10"}', '{"patience-seconds": 3601}', "{"]:
            with self.subTest(text):
                self.assertTrue(tidegate.settings(text, SETTINGS)[1])
        self.assertEqual(tidegate.settings("", SETTINGS), ({"patience-seconds": 10}, []))


if __name__ == "__main__":
    unittest.main()
