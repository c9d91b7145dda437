"""What the policy promises, each promise once."""

import unittest

import tidegate
from policy import SETTINGS, place
from tidegate import DAY

NOW = 1_767_225_600_000
HOUR = 3_600_000


def price(storage_class, gigabyte_month, minimum_days, minimum_bytes, retrieval_time):
    return {
        "stored-as": storage_class,
        "location": "west",
        "gigabyte-month": gigabyte_month,
        "retrieval-gigabyte": 0 if storage_class == "hot" else 10_000,
        "thousand-requests": 5_000,
        "minimum-days": minimum_days,
        "minimum-bytes": minimum_bytes,
        "retrieval-time": retrieval_time,
    }


PRICES = [
    price("hot", 23_000, 0, 0, 0),
    price("cool", 12_500, 30, 128_000, 0),
    price("cold", 3_600, 90, 0, 300_000),
    price("archive", 1_000, 180, 0, DAY // 2),
]


def ask(days=400, *, rto=None, only_verified_copy=False, prices=PRICES, **more):
    """About a gigabyte that was last read so many days ago."""
    the_object = {
        "key": "2019.pdf",
        "size": 1_000_000_000,
        "stored-as": "hot",
        "stored-since": NOW - 3_650 * DAY,
        "location": "west",
        "created-at": NOW - 3_650 * DAY,
        "accessed-at": NOW - days * DAY,
        "locked-until": None,
        "legal-hold": False,
    } | {key.replace("_", "-"): of for key, of in more.items()}
    item = {"object": the_object, "only-verified-copy": only_verified_copy}
    [said] = place({"now": NOW, "rto": rto, "items": [item], "prices": prices}, tidegate.settings("", SETTINGS)[0])
    return said


class Claims(unittest.TestCase):
    def test_moves_what_nobody_reads_to_where_it_costs_least(self):
        cases = [
            ("read of late", ask(29), None, 0),
            ("unread for a month", ask(30), "cool", 10_500),
            ("unread for a season", ask(90), "cold", 19_400),
            ("unread for a year", ask(365), "archive", 22_000),
            ("needed within an hour", ask(365, rto=HOUR), "cold", 19_400),
            ("needed at once", ask(365, rto=0), "cool", 10_500),
            ("never read", ask(accessed_at=None), "archive", 22_000),
        ]
        for story, said, to, saves in cases:
            with self.subTest(story):
                placement = {"move-to": to} if to else "stay"
                self.assertEqual((said["placement"], said["saves"]), (placement, saves))

    def test_leaves_alone_what_is_bound_and_says_by_what(self):
        cases = [
            ("only-verified-copy", ask(only_verified_copy=True)),
            ("legal-hold", ask(legal_hold=True)),
            ("locked", ask(locked_until=NOW + 1)),
        ]
        for code, said in cases:
            with self.subTest(code):
                self.assertEqual((said["placement"], said["reasons"][0]["code"]), ("stay", code))

    def test_moves_only_what_saves_money_by_prices_that_are_known(self):
        dear = [price | {"retrieval-gigabyte": 1_000_000} for price in PRICES]
        cases = [
            ("dear to read back", ask(prices=dear), "no-saving"),
            ("charged as a larger one", ask(size=1, rto=0), "no-saving"),
            ("charged for the month in any case", ask(stored_since=NOW - 29 * DAY, stored_as="cool"), "minimum-days"),
            ("without a price", ask(location="mars"), "no-price"),
        ]
        for story, said, code in cases:
            with self.subTest(story):
                self.assertEqual((said["placement"], said["reasons"][0]["code"]), ("stay", code))

    def test_refuses_settings_that_it_does_not_have(self):
        for text in ['{"cool": 1}', '{"cool-after-days": "1"}', '{"cool-after-days": 36501}']:
            with self.subTest(text):
                self.assertTrue(tidegate.settings(text, SETTINGS)[1])


if __name__ == "__main__":
    unittest.main()
