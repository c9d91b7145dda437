"""Leaves a site that is lost, for the best one that works, and stays put as long as anything is unclear."""

from tidegate import active_site, fail_over, hold, is_healthy, other_sites, reason, veto

NAME = "new-policy"
VERSION = "0.1.0"
SUMMARY = "new-summary"

# What an operator can set, as a JSON Schema; the host shows it, and refuses what does not fit.
SETTINGS = {
    "type": "object",
    "properties": {
        "patience-seconds": {
            "description": "How long a site has to be found unhealthy before it is left.",
            "type": "integer",
            "minimum": 0,
            "maximum": 3600,
            "default": 10,
        }
    },
    "additionalProperties": False,
}


def decide(situation, settings):
    """Where the service should be served from: a pure function, called whenever something has changed."""
    active = active_site(situation)
    at, lost_for = active["site"], active["consensus"]["held"]
    patience = settings["patience-seconds"] * 1_000
    if active["consensus"]["status"] != "unhealthy":
        until = reason("lost", f"{at} is found unhealthy for {settings['patience-seconds']} s")
        return hold("in-place", f"{at} is not lost", would_change_if=[until])
    if lost_for < patience:
        return hold("not-yet-sure", f"{at} may yet come back", ask_again_in=patience - lost_for)
    works = [site["site"] for site in other_sites(situation) if is_healthy(site)]
    fails = [site["site"] for site in other_sites(situation) if not is_healthy(site)]
    vetoes = [veto(site, "not-healthy", "it is not known to work") for site in fails]
    if works:
        return fail_over(works[0], "lost", f"{at} is lost, {works[0]} works", vetoes=vetoes)
    return hold("nowhere-to-go", f"{at} is lost, and no other site is known to work", vetoes=vetoes)
