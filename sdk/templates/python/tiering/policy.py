"""Moves what nobody reads to where it costs less and can still be read in time. Nothing expires."""

from tidegate import days_between, money, move_to, stay

NAME = "new-policy"
VERSION = "0.1.0"
SUMMARY = "new-summary"

DAYS = {"type": "integer", "minimum": 0, "maximum": 36_500}

# What an operator can set, as a JSON Schema; the host shows it, and refuses what does not fit.
SETTINGS = {
    "type": "object",
    "properties": {
        "cool-after-days": {
            "description": "How long an object has not been read before it may become cool.",
            "default": 30,
        } | DAYS,
        "cold-after-days": {"description": "How long before it may become cold.", "default": 90} | DAYS,
        "archive-after-days": {"description": "How long before it may go to the archive.", "default": 365} | DAYS,
    },
    "additionalProperties": False,
}

# The quickest to read first.
CLASSES = ["hot", "cool", "cold", "archive"]
GIGABYTE = 1_000_000_000


def place(request, settings):
    """One choice for each item of the request, in its order."""
    return [choose(item, request, settings) for item in request["items"]]


def choose(item, request, settings):
    the_object, now = item["object"], request["now"]
    key, size, location = the_object["key"], the_object["size"], the_object["location"]
    bound = binding(item, now)
    if bound:
        return stay(key, *bound)
    at_its_place = [price for price in request["prices"] if price["location"] == location]
    here = next((price for price in at_its_place if price["stored-as"] == the_object["stored-as"]), None)
    if here is None:
        return stay(key, "no-price", "nobody has said what it costs where it is")
    # It has been paid for until then, so that to leave would save nothing.
    if days_between(the_object["stored-since"], now) < here["minimum-days"]:
        return stay(key, "minimum-days", f"its class charges for {here['minimum-days']} days")
    # Where nobody counts reads, the day on which it was written is all that is known.
    read_at = the_object["accessed-at"]
    unread = days_between(the_object["created-at"] if read_at is None else read_at, now)

    def fits(price):
        in_time = request["rto"] is None or price["retrieval-time"] <= request["rto"]
        return rank(price) > rank(here) and in_time and unread >= settings[f"{price['stored-as']}-after-days"]

    best = max(filter(fits, at_its_place), key=lambda there: (year(here, there, size), -rank(there)), default=None)
    if best is None:
        return stay(key, "in-place", "it is read too often, or no colder class is quick enough")
    if year(here, best, size) <= 0:
        return stay(key, "no-saving", "no class that is quick enough costs less for it")
    saves = money(month(here, size) - month(best, size))
    why = f"not read for {unread} days, and {best['stored-as']} is cheaper for it"
    return move_to(key, best["stored-as"], saves, "unread", why)


def binding(item, now):
    """What must stay where it can be read at once, and untouched, whatever it costs: by which rule."""
    locked_until = item["object"]["locked-until"]
    rules = [
        (item["only-verified-copy"], "only-verified-copy", "no other copy is proven to restore"),
        (item["object"]["legal-hold"], "legal-hold", "a case holds it"),
        (locked_until is not None and locked_until > now, "locked", "its store has it locked"),
    ]
    return next(((code, why) for holds, code, why in rules if holds), None)


def rank(price):
    return CLASSES.index(price["stored-as"])


def month(price, size):
    """What a month of it costs: a small object is charged as a larger one."""
    return money(price["gigabyte-month"] * max(size, price["minimum-bytes"]), GIGABYTE)


def year(here, there, size):
    """What a year elsewhere saves.

    Twelve months, less what it costs to read it once to be moved, to write it by one request, and to read it back once. Simple,
    and on the safe side: what nobody has read for so long may never be read again.
    """
    reading = [money(price["retrieval-gigabyte"] * size, GIGABYTE) for price in (here, there)]
    moving = sum(reading) + money(there["thousand-requests"], 1_000)
    return money((month(here, size) - month(there, size)) * 12 - moving)
