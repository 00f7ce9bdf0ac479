"""Complaints: what is wrong with a setting in words that name the key, what is allowed and what came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from wirelessgym.options import refusal
from wirelessgym.scenario.kinds import built_in_kinds, channel_class, channel_kinds
from wirelessgym.scenario.values import ScenarioError
from wirelessgym.suggest import closest


def complaints(problems: list[Any], owner: type[BaseModel], data: Mapping[str, Any]) -> list[str]:
    """Put pydantic's complaints about a scenario's ``data`` in words, each once.

    Args:
        problems: what `ValidationError.errors` returns.
        owner: the scenario's class.
        data: what was validated.
    """
    return list(dict.fromkeys(_complaint(problem, owner, data) for problem in _telling(problems)))


def _telling(problems: list[Any]) -> list[Any]:
    """A field that takes a number or a range complains twice: keep the complaint about what was given."""
    other = {"tuple_type": (int, float, str, bool), "float_type": (list, tuple), "int_type": (list, tuple)}
    return [p for p in problems if not isinstance(p["input"], other.get(p["type"], ()))] or problems


def _complaint(problem: Any, scenario: type[BaseModel], data: Mapping[str, Any]) -> str:
    if isinstance(raised := problem.get("ctx", {}).get("error"), ScenarioError):  # it names its key
        return str(raised)
    # Unions add a branch name such as "constrained-int" to the location: keep the real keys only.
    names = [str(part) for part in problem["loc"]]
    keys = [part for part in names if part.isidentifier() and part not in ("int", "float", "tuple")]
    key, owner = ".".join(keys), _owner(keys[:-1], scenario, data)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {_hint(keys, owner, data)}"
    if problem["type"] == "missing":
        return f"missing key {key!r}"
    if not key:  # about the scenario as a whole
        return refusal(problem, {})
    if isinstance(problem["input"], Mapping) and problem["type"] == "value_error":  # about a table as a whole
        return f"{key}: {refusal(problem, {})}"
    schema = owner.model_json_schema()["properties"][keys[-1]]
    return f"{key}: {refusal(problem, schema)}, got {json.dumps(problem['input'], default=str)}"


def _owner(tables: list[str], scenario: type[BaseModel], data: Mapping[str, Any]) -> type[BaseModel]:
    """The class that reads a table."""
    owner = scenario
    for name in tables:
        found = channel_class(data["channel"]["kind"]) if name == "channel" else owner.model_fields[name].annotation
        if isinstance(found, type) and issubclass(found, BaseModel):
            owner = found
    return owner


def _hint(keys: list[str], owner: type[BaseModel], data: Mapping[str, Any]) -> str:
    """What an unknown key may have been meant to be, or where it does exist."""
    *tables, last = keys
    candidates = {name: ".".join([*tables, name]) for name in owner.model_fields}
    channel = data.get("channel")
    if not tables and isinstance(channel, Mapping) and channel.get("kind") in channel_kinds():
        candidates = {name: f"channel.{name}" for name in channel_class(channel["kind"]).model_fields} | candidates
    if close := closest(last, candidates):
        return f"did you mean {candidates[close]!r}?"
    if tables == ["channel"] and (having := [kind for kind in built_in_kinds() if last in channel_class(kind).model_fields]):
        return f"a channel of kind {data['channel']['kind']!r} has none, one of kind {' or '.join(map(repr, having))} has"
    return f"known keys: {', '.join(owner.model_fields)}"
