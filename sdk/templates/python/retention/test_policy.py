"""What the policy promises, each promise once."""

import unittest

import tidegate
from policy import SETTINGS, select
from tidegate import DAY

NOW = 1_767_225_600_000


def full(name, days_old, **more):
    """Only what the policy looks at; the whole is in the contract, `wit/policies.wit`."""
    plain = {"kind": "full", "parent": None, "verified-at": None, "locked-until": None, "holds": []}
    return {"id": name, "taken-at": NOW - days_old * DAY} | plain | {key.replace("_", "-"): of for key, of in more.items()}


def incremental(name, days_old, parent):
    return full(name, days_old, kind="incremental", parent=parent)


def choices(*backups, minimum_age=None):
    request = {"now": NOW, "dataset": {"minimum-age": minimum_age}, "backups": list(backups)}
    return select(request, {"keep-days": 30, "keep-last": 1})


class Claims(unittest.TestCase):
    def test_keeps_what_has_to_stay_and_says_why(self):
        cases = [
            ("nothing keeps it", full("old", 40), None, "expired"),
            ("a day too young", full("old", 29), None, "young"),
            ("from the future", full("old", -1), None, "young"),
            ("its data set is strict", full("old", 40), 41 * DAY, "minimum-age"),
            ("a restore is proven", full("old", 40, verified_at=NOW), None, "proven"),
            ("locked", full("old", 40, locked_until=NOW + 1), None, "locked"),
            ("no longer locked", full("old", 40, locked_until=NOW), None, "expired"),
            ("held", full("old", 40, holds=["case-7"]), None, "held"),
        ]
        for story, backup, minimum_age, code in cases:
            with self.subTest(story):
                _, said = choices(full("last", 1), backup, minimum_age=minimum_age)
                self.assertEqual((said["keep"], said["reasons"][0]["code"]), (code != "expired", code))

    def test_keeps_the_last_full_backup_however_old_it_is(self):
        self.assertEqual([said["keep"] for said in choices(full("a", 400), full("b", 500))], [True, False])

    def test_keeps_whatever_a_kept_backup_needs_to_be_restored(self):
        chain = [incremental("one", 50, "base"), incremental("two", 20, "one"), incremental("aside", 45, "base")]
        said = choices(full("last", 1), full("base", 60), *chain)
        self.assertEqual([one["id"] for one in said if one["keep"]], ["last", "base", "one", "two"])
        self.assertIn("one", said[1]["reasons"][0]["text"])

    def test_a_parent_that_is_missing_and_a_circle_are_no_reason_to_crash(self):
        _, said = choices(full("last", 1), incremental("orphan", 40, "gone"))
        self.assertEqual((said["keep"], said["reasons"][0]["code"]), (True, "parent-unknown"))
        self.assertTrue(all(said["keep"] for said in choices(incremental("a", 1, "b"), incremental("b", 40, "a"))))

    def test_refuses_settings_that_it_does_not_have(self):
        for text in ['{"keep": 10}', '{"keep-days": "10"}', '{"keep-days": 36501}', '{"keep-last": 0}']:
            with self.subTest(text):
                self.assertTrue(tidegate.settings(text, SETTINGS)[1])
        self.assertEqual(tidegate.settings("", SETTINGS), ({"keep-days": 30, "keep-last": 3}, []))


if __name__ == "__main__":
    unittest.main()
