"""What a Tidegate policy in Python says, in few words: decisions, choices, and what is wrong with settings.

Everything is plain data under the contract's names, as `tidegate policy eval` reads and prints it: a request is a dict,
an enum's case is its name, a length of time is a number of milliseconds. Knows no component (`component.py` is that), so
that a policy and its tests run under any Python.
"""

import json


DAY = 86_400_000
"""In milliseconds, the contract's unit."""


class Declined(Exception):
    """The policy cannot decide: the host holds, and raises an alarm."""


def reason(code, text):
    """A code for machines (kebab-case), a sentence for people."""
    return {"code": code, "text": text}


def veto(site, code, text):
    """A site that was weighed and passed over."""
    return {"candidate": {"site": site}, "reason": reason(code, text)}


def move(site, *, shifts=None, promote=(), expected_loss=None):
    """All traffic to a site, at once unless `shifts` says in which steps: [(per cent, milliseconds)], the last 100 per cent."""
    steps = [{"share": share, "hold": hold} for share, hold in shifts or [(100, 0)]]
    return {"to-site": site, "promote": list(promote), "shifts": steps, "expected-loss": expected_loss}


def decision(verdict, code, text, *, analysis=None, vetoes=(), would_change_if=(), ask_again_in=None, memo=""):
    """A verdict with its first reason, whose code is also the analysis unless another is given."""
    return {
        "verdict": verdict,
        "analysis": analysis or code,
        "reasons": [reason(code, text)],
        "vetoes": list(vetoes),
        "would-change-if": list(would_change_if),
        "ask-again-in": ask_again_in,
        "memo": memo,
        "facts": [],
    }


def hold(code, text, **more):
    """Change nothing."""
    return decision("hold", code, text, **more)


def probe_more(sites, code, text, **more):
    """Look at these sites again now, then ask again."""
    return decision({"probe-more": [{"site": site, "node": None} for site in sites]}, code, text, **more)


def fail_over(to, code, text, **more):
    """The active side is lost: move to a site, or by a `move`."""
    return decision({"fail-over": _move(to)}, code, text, **more)


def switch_over(to, code, text, **more):
    """Both sides are alive: move, and lose nothing."""
    return decision({"switch-over": _move(to)}, code, text, **more)


def fail_back(to, code, text, **more):
    """Move back to the preferred site."""
    return decision({"fail-back": _move(to)}, code, text, **more)


def ask(question, options, expires_in, code, text, **more):
    """Have a person decide between these sites or moves, the best first, within so many milliseconds."""
    asked = {"text": question, "options": [_move(option) for option in options], "expires-in": expires_in}
    return decision({"ask": asked}, code, text, **more)


def site_of(situation, name):
    """A site by its name."""
    for site in situation["sites"]:
        if site["site"] == name:
            return site
    raise Declined(f"there is no site {name}")


def active_site(situation):
    """The site that serves now."""
    return site_of(situation, situation["active-site"])


def other_sites(situation):
    """Every site but the active one, in the operator's order."""
    others = [site for site in situation["sites"] if site["site"] != situation["active-site"]]
    return sorted(others, key=lambda site: site["rank"])


def is_healthy(site):
    """Whether the vantage points agree that it works."""
    return site["consensus"]["status"] == "healthy"


def stay(key, code, text):
    """Leave an object where it is."""
    return {"key": key, "placement": "stay", "saves": 0, "reasons": [reason(code, text)]}


def move_to(key, storage_class, saves, code, text):
    """Store an object as another class, which saves that much a month."""
    placement = {"move-to": storage_class}
    return {"key": key, "placement": placement, "saves": saves, "reasons": [reason(code, text)]}


def days_between(start, end):
    """Whole days from one moment to another; none where the first is the later one, as clocks may have it."""
    return max(end - start, 0) // DAY


def money(exact, divided_by=1):
    """The quotient as money, towards zero. What the contract cannot hold becomes the most that it can."""
    quotient = abs(exact) // divided_by * (1 if exact >= 0 else -1)
    return max(-(2**63), min(quotient, 2**63 - 1))


def settings(text, schema):
    """The settings that a JSON text stands for, with the schema's defaults, and everything that is wrong with them."""
    try:
        given = json.loads(text or "{}")
    except ValueError as error:
        return {}, [("", str(error))]
    wrong = problems(given, schema)
    if wrong:
        return {}, wrong
    defaults = {key: of["default"] for key, of in schema.get("properties", {}).items() if "default" in of}
    return defaults | given, []


TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}


def problems(value, schema, at=""):
    """What is wrong with a value: (JSON Pointer, sentence).

    Of JSON Schema: type, minimum, maximum, items, required, properties and additionalProperties. What a schema does not name
    is refused, because a misspelt setting is a setting that does nothing.
    """
    kind = schema["type"]
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return [(at, f"{json.dumps(value)} is no {kind}")]
    if kind in ("integer", "number"):
        return _out_of_range(value, schema, at)
    if kind == "array":
        items = schema.get("items")
        return [wrong for index, item in enumerate(value) if items for wrong in problems(item, items, f"{at}/{index}")]
    if kind == "object":
        return _in_object(value, schema, at)
    return []


def _out_of_range(value, schema, at):
    if value < schema.get("minimum", value):
        return [(at, f"at least {schema['minimum']}")]
    if value > schema.get("maximum", value):
        return [(at, f"at most {schema['maximum']}")]
    return []


def _in_object(value, schema, at):
    known = schema.get("properties", {})
    found = [(at, f"{key} is missing") for key in schema.get("required", []) if key not in value]
    for key, item in value.items():
        pointer = f"{at}/{key.replace('~', '~0').replace('/', '~1')}"
        below = known.get(key, schema.get("additionalProperties"))
        if below:
            found += problems(item, below, pointer)
        else:
            found.append((pointer, f"unknown key; known here: {', '.join(known)}"))
    return found


def _move(to):
    return move(to) if isinstance(to, str) else to
