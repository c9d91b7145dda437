"""The component around `policy.py`: hands it a situation as plain data, and hands its decision back as the contract's records.

Knows no policy; there is nothing in it to edit. It runs inside WebAssembly only, where `componentize-py` provides `wit_world`.
"""

import json
from enum import Enum

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import failover_policy as contract
from wit_world.exports.plugin import Manifest, Problem
from wit_world.imports.types import Fact, Reason

import policy
import tidegate


class Plugin(exports.Plugin):
    def describe(self):
        memo_format = getattr(policy, "MEMO_FORMAT", "")
        return Manifest(policy.NAME, policy.VERSION, policy.SUMMARY, json.dumps(policy.SETTINGS), [], memo_format)

    def check_settings(self, settings):
        _, wrong = tidegate.settings(settings, policy.SETTINGS)
        if wrong:
            raise Err([Problem(at, text) for at, text in wrong])


class FailoverPolicy(exports.FailoverPolicy):
    def decide(self, situation):
        # They were accepted by `check_settings` before anything is decided.
        settings, _ = tidegate.settings(situation.settings, policy.SETTINGS)
        try:
            return _decision(policy.decide(_plain(situation), settings))
        except tidegate.Declined as declined:
            raise Err(str(declined)) from None


def _plain(value):
    """A record as a dict, an enum's case as its name."""
    if value is None or isinstance(value, (str, int, float)) and not isinstance(value, Enum):
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return _kebab(value.name)
    return {_kebab(name): _plain(field) for name, field in vars(value).items()}


_NAMES = {}


def _kebab(name):
    """`active_site` and `UNKNOWN` as the contract writes them; remembered, because there are few and each comes often."""
    if name not in _NAMES:
        _NAMES[name] = name.lower().replace("_", "-")
    return _NAMES[name]


def _decision(said):
    return contract.Decision(
        verdict=_verdict(said["verdict"]),
        analysis=said["analysis"],
        reasons=[Reason(**reason) for reason in said["reasons"]],
        vetoes=[contract.Veto(_candidate(veto["candidate"]), Reason(**veto["reason"])) for veto in said["vetoes"]],
        would_change_if=[Reason(**reason) for reason in said["would-change-if"]],
        ask_again_in=said["ask-again-in"],
        memo=said["memo"],
        facts=[Fact(**fact) for fact in said["facts"]],
    )


def _verdict(said):
    if said == "hold":
        return contract.Verdict_Hold()
    [(name, value)] = said.items()
    match name:
        case "probe-more":
            return contract.Verdict_ProbeMore([contract.Look(**look) for look in value])
        case "switch-over":
            return contract.Verdict_SwitchOver(_move(value))
        case "fail-over":
            return contract.Verdict_FailOver(_move(value))
        case "fail-back":
            return contract.Verdict_FailBack(_move(value))
        case "rebalance":
            return contract.Verdict_Rebalance([contract.Share(share["site"], share["per-cent"]) for share in value])
        case "fence":
            return contract.Verdict_Fence(value)
        case "run":
            arguments = [Fact(**fact) for fact in value["arguments"]]
            return contract.Verdict_Run(contract.Invocation(value["runbook"], arguments))
        case "ask":
            options = [_move(option) for option in value["options"]]
            return contract.Verdict_Ask(contract.Question(value["text"], options, value["expires-in"]))
    raise ValueError(f"{name} is no verdict of the contract")


def _move(said):
    shifts = [contract.Shift(**shift) for shift in said["shifts"]]
    return contract.Move(said["to-site"], said["promote"], shifts, said["expected-loss"])


def _candidate(said):
    [(kind, name)] = said.items()
    return contract.Candidate_Site(name) if kind == "site" else contract.Candidate_Node(name)
