"""What the policy promises, each promise once."""

import unittest

import tidegate
from policy import SETTINGS, advise

HOUR = 3_600_000
ONE = 1_000_000
MOST = 2**63 - 1


def offer(strategy, monthly, rto):
    return {"strategy": strategy, "monthly": monthly * ONE, "rto": rto, "rpo": 60_000, "sites": ["west", "east"]}


OFFERS = [offer("backup-restore", 100, 4 * HOUR), offer("active-active", 2_000, 0), offer("pilot-light", 400, HOUR)]


def shop(**more):
    """It has to be back within an hour, and is restored from backups today."""
    return {
        "service": "shop",
        "objectives": {"rto": HOUR, "rpo": 300_000},
        "impact-per-hour": 1_000 * ONE,
        "incidents-per-year": 0.5,
        "current": "backup-restore",
        "offers": OFFERS,
    } | {key.replace("_", "-"): of for key, of in more.items()}


def asset(name, monthly, utilisation, site="north"):
    return {"id": name, "service": "shop", "site": site, "monthly": monthly * ONE, "utilisation": utilisation}


def ask(*services, assets=(), budget=None):
    request = {"services": list(services), "assets": list(assets), "monthly-budget": budget}
    return advise(request, tidegate.settings("", SETTINGS)[0])


class Claims(unittest.TestCase):
    def test_takes_the_cheapest_offer_that_meets_the_objectives(self):
        advice = ask(shop())
        [said] = advice["assignments"]
        told = (said["strategy"], said["meets-objectives"], said["monthly"], advice["monthly"], advice["warnings"])
        self.assertEqual(told, ("pilot-light", True, 400 * ONE, 400 * ONE, []))

    def test_what_is_avoided_is_what_the_shorter_outages_would_have_cost(self):
        # Three hours less, at 1000 an hour, every other year.
        cases = [("backup-restore", 1_500 * ONE), ("active-active", -500 * ONE), ("active-passive", 0)]
        for current, avoided in cases:
            with self.subTest(current):
                self.assertEqual(ask(shop(current=current))["avoided-loss-yearly"], avoided)

    def test_nothing_overflows(self):
        dear = [offer | {"monthly": MOST} for offer in OFFERS]
        priceless = shop(impact_per_hour=MOST, incidents_per_year=float("inf"), offers=dear)
        advice = ask(priceless, priceless)
        self.assertEqual((advice["monthly"], advice["avoided-loss-yearly"]), (MOST, MOST))

    def test_warns_of_what_cannot_be_met_and_of_what_cannot_be_paid(self):
        advice = ask(shop(objectives={"rto": HOUR, "rpo": 0}), shop(service="bare", offers=[]))
        [said] = advice["assignments"]
        self.assertEqual((said["strategy"], said["meets-objectives"]), ("active-active", False))
        self.assertEqual([warning["code"] for warning in advice["warnings"]], ["no-offer", "objectives-unmet"])
        self.assertEqual([len(ask(shop(), budget=of * ONE)["warnings"]) for of in (399, 400)], [1, 0])

    def test_names_what_is_idle_and_what_may_yet_stand_by(self):
        assets = [asset("busy", 90, 0.05), asset("idle", 70, 0.049), asset("standby", 50, 0.0, "east")]
        idle, standby = ask(shop(), assets=assets)["savings"]
        self.assertEqual((idle["asset"], idle["monthly"], standby["asset"]), ("idle", 70 * ONE, "standby"))
        self.assertIn("stands by", standby["risk"])

    def test_refuses_settings_that_it_does_not_have(self):
        for text in ['{"idle": 5}', '{"idle-percent": "5"}', '{"idle-percent": 101}']:
            with self.subTest(text):
                self.assertTrue(tidegate.settings(text, SETTINGS)[1])


if __name__ == "__main__":
    unittest.main()
