"""Serves from the cheapest site that works, and moves only for a saving that is worth a move."""

from tidegate import Declined, active_site, fail_over, hold, is_healthy, other_sites, reason, switch_over

NAME = "policy-python-cheapest-site"
VERSION = "0.1.0"
SUMMARY = "Serves from the cheapest site that works"

PRICE = {"type": "number", "minimum": 0}
SETTINGS = {
    "type": "object",
    "properties": {
        "prices": {"description": "What an hour costs, by site.", "type": "object", "additionalProperties": PRICE},
        "worth": {"description": "What an hour elsewhere has to save.", "default": 1} | PRICE,
    },
    "required": ["prices"],
    "additionalProperties": False,
}


def decide(situation, settings):
    prices, active = settings["prices"], active_site(situation)
    here = active["site"]
    if here not in prices:
        raise Declined(f"the settings give no price for {here}")
    works = [site["site"] for site in other_sites(situation) if is_healthy(site) and site["site"] in prices]
    if not works:
        return hold("nowhere-to-go", "no other site with a price is known to work")
    cheapest = min(works, key=prices.get)
    if active["consensus"]["status"] == "unhealthy":
        return fail_over(cheapest, "lost", f"{here} is lost, and {cheapest} is the cheapest that works")
    saves = prices[here] - prices[cheapest]
    if is_healthy(active) and saves >= settings["worth"]:
        return switch_over(cheapest, "cheaper", f"an hour at {cheapest} costs {saves:g} less than at {here}")
    until = reason("cheaper", f"an hour elsewhere costs {settings['worth']:g} less")
    return hold("in-place", f"{here} serves, and is cheap enough", would_change_if=[until])
