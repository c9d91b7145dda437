"""Keeps what is young, what has to stay, and what that needs to be restored. Everything else goes."""

from tidegate import DAY, reason

NAME = "new-policy"
VERSION = "0.1.0"
SUMMARY = "new-summary"

# What an operator can set, as a JSON Schema; the host shows it, and refuses what does not fit.
SETTINGS = {
    "type": "object",
    "properties": {
        "keep-days": {
            "description": "Every backup younger than this stays.",
            "type": "integer",
            "minimum": 0,
            "maximum": 36_500,
            "default": 30,
        },
        "keep-last": {
            "description": "So many full backups stay, the newest, however old they are.",
            "type": "integer",
            "minimum": 1,
            "default": 3,
        },
    },
    "additionalProperties": False,
}


def select(request, settings):
    """One choice for each backup of the request, in its order."""
    known = {backup["id"]: backup for backup in request["backups"]}
    choices = for_its_own_sake(request, settings, known)
    needed = needed_by([backup for backup, said in zip(request["backups"], choices) if said["keep"]], known)
    for said in choices:
        child = needed.get(said["id"])
        if child is not None:
            said["keep"] = True
            said["reasons"].append(reason("needed", f"{child} cannot be restored without it"))
        if not said["keep"]:
            said["reasons"].append(reason("expired", "nothing keeps it, and nothing that stays needs it"))
    return choices


def for_its_own_sake(request, settings, known):
    """Doubt keeps: what is from the future is young, and a person judges what needs a backup that is not among these."""
    now, keep_days, keep_last = request["now"], settings["keep-days"], settings["keep-last"]
    last = newest([backup for backup in request["backups"] if backup["kind"] == "full"], keep_last)
    proven = newest([backup for backup in request["backups"] if backup["verified-at"] is not None], 1)
    minimum_age = request["dataset"]["minimum-age"] or 0

    def choice(backup):
        taken_at, parent, holds = backup["taken-at"], backup["parent"], backup["holds"]
        age = max(now - taken_at, 0)
        is_last = backup["kind"] == "full" and taken_at >= last
        is_proven = backup["verified-at"] is not None and taken_at >= proven
        is_locked = backup["locked-until"] is not None and backup["locked-until"] > now
        is_orphan = parent is not None and parent not in known
        rules = [
            (age < keep_days * DAY, "young", f"it is younger than {keep_days} days"),
            (age < minimum_age, "minimum-age", "it is younger than its data set allows to go"),
            (is_last, "last", f"it is one of the last {keep_last} full backups"),
            (is_proven, "proven", "it is the newest from which a restore is proven"),
            (is_locked, "locked", "its store has it locked"),
            (bool(holds), "held", f"it is held for {', '.join(holds)}"),
            (is_orphan, "parent-unknown", f"it needs {parent}, which is not here"),
        ]
        reasons = [reason(code, text) for holds, code, text in rules if holds]
        return {"id": backup["id"], "keep": bool(reasons), "reasons": reasons}

    return [choice(backup) for backup in request["backups"]]


def newest(backups, count):
    """When the `count`th newest was taken, or the oldest if there are fewer."""
    taken = sorted((backup["taken-at"] for backup in backups), reverse=True)
    return taken[:count][-1] if taken else 0


def needed_by(kept, known):
    """Whatever a kept backup needs to be restored, and for which one."""
    needed = {}
    for child in kept:
        while (parent := known.get(child["parent"])) is not None:
            if parent["id"] in needed:
                break  # From there on it has been walked, or it is a circle.
            needed[parent["id"]] = child["id"]
            child = parent
    return needed
