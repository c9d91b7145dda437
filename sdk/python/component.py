"""The component around `policy.py`: hands it a request as plain data, and hands its answer back as the contract's records.

Knows no policy; there is nothing in it to edit. It runs inside WebAssembly only, where `componentize-py` provides `wit_world`: with
the exports of the one world that it builds, which says of what kind the policy is.
"""

import importlib
import json
from enum import Enum
from typing import Union, get_args, get_origin, get_type_hints

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.plugin import Manifest, Problem

import policy
import tidegate

# What each kind's world exports, and what it is asked by: there, and in `policy.py`.
KINDS = {"FailoverPolicy": "decide", "RetentionPolicy": "select", "TieringPolicy": "place", "CostPolicy": "advise"}


class Plugin(exports.Plugin):
    def describe(self):
        memo_format = getattr(policy, "MEMO_FORMAT", "")
        return Manifest(policy.NAME, policy.VERSION, policy.SUMMARY, json.dumps(policy.SETTINGS), [], memo_format)

    def check_settings(self, settings):
        _, wrong = tidegate.settings(settings, policy.SETTINGS)
        if wrong:
            raise Err([Problem(at, text) for at, text in wrong])


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


def _maker(kind):
    """What makes a value of that type of plain data; None = plain data is what it is. Worked out while the component is built."""
    if kind in _MAKERS:
        return _MAKERS[kind]
    made = None
    if get_origin(kind) is list:
        made = _list_maker(_maker(*get_args(kind)))
    elif get_origin(kind) is Union and type(None) in get_args(kind):
        made = _option_maker(_maker(get_args(kind)[0]))
    elif get_origin(kind) is Union:
        made = _variant_maker({_case(case): case for case in get_args(kind)})
    elif issubclass(kind, Enum):
        made = {_kebab(case.name): case for case in kind}.__getitem__
    elif kind not in (str, int, float, bool):
        made = _record_maker(kind)
    _MAKERS[kind] = made
    return made


_MAKERS = {}


def _list_maker(item):
    return item and (lambda said: [item(one) for one in said])


def _option_maker(some):
    return some and (lambda said: None if said is None else some(said))


def _record_maker(record):
    fields = [(_kebab(name), _maker(kind)) for name, kind in get_type_hints(record).items()]
    return lambda said: record(*[make(said[name]) if make else said[name] for name, make in fields])


def _variant_maker(cases):
    """Of `"hold"`, or of `{"fail-over": …}`."""
    values = {name: get_type_hints(case).get("value") for name, case in cases.items()}
    makers = {name: kind and _maker(kind) for name, kind in values.items()}

    def make(said):
        name, *value = (said,) if isinstance(said, str) else next(iter(said.items()))
        if name not in cases:
            raise ValueError(f"{name} is not of the contract: {', '.join(cases)}")
        return cases[name](*[makers[name](one) if makers[name] else one for one in value])

    return make


def _case(case):
    """`Verdict_FailOver` as the contract writes the case."""
    name = case.__name__.partition("_")[2]
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]


def _policy(name, verb):
    """The class that `componentize-py` looks for, by the name of the world's export."""
    export = getattr(exports, name)
    answer = _maker(get_type_hints(getattr(export, verb), vars(exports))["return"])
    decide = getattr(policy, verb)

    def asked(self, request):
        # They were accepted by `check_settings` before anything is decided.
        settings, _ = tidegate.settings(request.settings, policy.SETTINGS)
        try:
            return answer(decide(_plain(request), settings))
        except tidegate.Declined as declined:
            raise Err(str(declined)) from None

    return type(name, (export,), {verb: asked})


globals().update({name: _policy(name, verb) for name, verb in KINDS.items() if hasattr(exports, name)})
