"""Protects each service by the cheapest offer that meets its objectives, and says what nobody seems to need."""

from tidegate import money, reason

NAME = "new-policy"
VERSION = "0.1.0"
SUMMARY = "new-summary"

# What an operator can set, as a JSON Schema; the host shows it, and refuses what does not fit.
SETTINGS = {
    "type": "object",
    "properties": {
        "idle-percent": {
            "description": "What is used less than this, in per cent, could be saved.",
            "type": "integer",
            "minimum": 0,
            "maximum": 100,
            "default": 5,
        }
    },
    "additionalProperties": False,
}

# Milliseconds in an hour; and into how many parts an incident a year is counted.
HOUR = 3_600_000
PARTS = 1_000


def advise(request, settings):
    """Pure, like every policy: the same request gives the same advice."""
    chosen = [(service, best(service)) for service in request["services"] if service["offers"]]
    assignments = [assignment(service, offer) for service, offer in chosen]
    monthly = total(assigned["monthly"] for assigned in assignments)
    idle = [asset for asset in request["assets"] if asset["utilisation"] * 100 < settings["idle-percent"]]
    return {
        "assignments": assignments,
        "savings": [saving(asset, chosen) for asset in idle],
        "monthly": monthly,
        "avoided-loss-yearly": total(assigned["avoided-loss-yearly"] for assigned in assignments),
        "warnings": warnings(request, assignments, monthly),
    }


def meets(offer, service):
    objectives = service["objectives"]
    return offer["rto"] <= objectives["rto"] and offer["rpo"] <= objectives["rpo"]


def best(service):
    """The cheapest that meets the objectives, of two the quicker one; where none does, the quickest of all."""
    good = [offer for offer in service["offers"] if meets(offer, service)]
    if good:
        return min(good, key=lambda offer: (offer["monthly"], offer["rto"]))
    return min(service["offers"], key=lambda offer: (offer["rto"], offer["rpo"], offer["monthly"]))


def assignment(service, offer):
    name, good = offer["strategy"], meets(offer, service)
    if good:
        why = reason("cheapest", f"{name} is the cheapest that meets its objectives")
    else:
        why = reason("quickest", f"nothing meets its objectives, and {name} is the quickest")
    return {
        "service": service["service"],
        "strategy": name,
        "monthly": offer["monthly"],
        "avoided-loss-yearly": avoided(service, offer),
        "meets-objectives": good,
        "reasons": [why],
    }


def avoided(service, offer):
    """What outages cost less in a year than today.

    Each is shorter by the difference between today's recovery time and the chosen one, and each hour of it would have cost the
    service's impact. Nothing where today's offer is not known.
    """
    today = next((other for other in service["offers"] if other["strategy"] == service["current"]), offer)
    shorter = today["rto"] - offer["rto"]
    # Whole thousandths, so that all that follows is exact; more than a million incidents are as bad as a million.
    incidents = int(min(max(0.0, service["incidents-per-year"]), 1e6) * 1e3 + 0.5)
    return money(service["impact-per-hour"] * incidents * shorter, HOUR * PARTS)


def saving(asset, chosen):
    name, site = asset["service"], asset["site"]
    if any(service["service"] == name and site in offer["sites"] for service, offer in chosen):
        risk = f"{name} is protected at {site}: it may be what stands by"
    else:
        risk = f"nothing that was chosen for {name} needs {site}"
    return {
        "asset": asset["id"],
        "change": "stop it, or make it smaller",
        "monthly": asset["monthly"],
        "risk": risk,
        "reasons": [reason("idle", "it is hardly used")],
    }


def warnings(request, assignments, monthly):
    budget = request["monthly-budget"]
    unoffered = [service["service"] for service in request["services"] if not service["offers"]]
    unmet = [assigned["service"] for assigned in assignments if not assigned["meets-objectives"]]
    said = [reason("no-offer", f"nothing is offered for {name}") for name in unoffered]
    said += [reason("objectives-unmet", f"nothing meets the objectives of {name}") for name in unmet]
    if budget is not None and monthly > budget:
        said.append(reason("over-budget", "all of it together costs more a month than the budget has"))
    return said


def total(amounts):
    return money(sum(amounts))
