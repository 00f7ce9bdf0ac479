"""Overrides: dotted and nested keys, assignments from a command line, and the channel's keys without their table.

Until schema 1 got its ``[channel]`` table, the channel's keys stood at the top of the file: ``model = "cdl-c"``, ``sight``,
``drop`` and others. Such files still load, and such keys still work as overrides: ``sight=los`` is ``channel.sight=los``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError

from wirelessgym.io import parse_toml_value
from wirelessgym.scenario.kinds import channel_class
from wirelessgym.scenario.values import ScenarioError

_SYSTEM_LEVEL = {name: {"kind": "system_level", "model": name} for name in ("uma", "umi", "rma", "inh")}
_DELAY_LINES = {f"{kind}-{letter}": {"kind": kind, "profile": letter} for kind in ("cdl", "tdl") for letter in "abcde"}
MODELS: dict[str, dict[str, str]] = {**_SYSTEM_LEVEL, **_DELAY_LINES, "rayleigh": {"kind": "rayleigh"}}
# The channel's keys that stood at the top, and what they meant by default: a model that had no use for them ignored them.
_TOP_LEVEL: dict[str, Any] = {
    "sight": "nlos",
    "spec_version": "19.2",
    "delay_spread_s": 300e-9,
    "path_loss": False,
    "shadowing": False,
    "drop": {"indoor_probability": 0.0},
}
TOP_LEVEL_KEYS = ("model", *_TOP_LEVEL)


def merged(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``data`` with ``overrides`` (dotted or nested keys) laid over it.

    Raises:
        ScenarioError: for a key that is no text.
    """
    result = dict(data)
    for key, value in overrides.items():
        if not isinstance(key, str):
            raise ScenarioError(f"scenario: expected the name of a key, got {key!r}")
        head, _, rest = key.partition(".")
        if rest:
            value = {rest: value}
        if isinstance(value, Mapping):
            inner = result.get(head)
            result[head] = merged(inner if isinstance(inner, Mapping) else {}, cast(Mapping[str, Any], value))
        else:
            result[head] = value
    return result


def laid_over(data: Mapping[str, Any], overrides: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a scenario's ``data`` with ``overrides``, in which the channel's keys may stand at the top.

    A change of the channel's kind keeps those of its keys that the new kind has as well.

    Args:
        data: tables of a scenario.
        overrides: dotted or nested keys.
        name: the scenario's, for errors.

    Raises:
        ScenarioError: for a ``model`` that doesn't exist.
    """
    wanted = merged({}, in_tables(overrides, name))
    result = merged(data, wanted)
    before, new = data.get("channel"), wanted.get("channel")
    if not isinstance(new, Mapping) or not isinstance(result["channel"].get("kind"), str):
        return result
    try:
        known = set(channel_class(result["channel"]["kind"]).model_fields)
    except LookupError:
        return result  # validation says so
    if isinstance(before, Mapping) and before.get("kind") != result["channel"]["kind"]:
        result["channel"] = merged({key: value for key, value in before.items() if key in known}, new)
    for key in {key.partition(".")[0] for key in overrides} & set(_TOP_LEVEL) - known:
        if _is_default(key, result["channel"].get(key)):
            del result["channel"][key]
    return result


def channel_label(settings: Mapping[str, Any]) -> str:
    """The channel of a scenario in a word or two, from the settings in a record, with or without a ``[channel]`` table."""
    if not any(key in settings for key in ("channel", "model")):
        return ""
    tables = laid_over({}, settings, "in a record")["channel"]
    try:
        return channel_class(tables["kind"]).model_validate(tables).label
    except (LookupError, ImportError, ValidationError):  # of a package that isn't installed here, or has changed since
        return str(tables["kind"])


def _is_default(key: str, value: Any) -> bool:
    if isinstance(value, Mapping):
        value = {inner: number for inner, number in value.items() if number is not None}
        return value in ({}, _TOP_LEVEL[key])
    return bool(value == _TOP_LEVEL[key])


def in_tables(settings: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Return settings with the channel's keys moved to its table: ``{"sight": "los"}`` becomes ``{"channel.sight": "los"}``.

    Raises:
        ScenarioError: for a ``model`` that doesn't exist; it names the scenario.
    """
    result: dict[str, Any] = {}
    for key, value in settings.items():
        if key == "model":
            if not isinstance(value, str) or value not in MODELS:
                known = ", ".join(map(repr, MODELS))
                raise ScenarioError(f"scenario {name}: model: input should be {known}, got {value!r}")
            result |= {f"channel.{entry}": choice for entry, choice in MODELS[value].items()}
        elif key.partition(".")[0] in _TOP_LEVEL:
            result[f"channel.{key}"] = value
        else:
            result[key] = value
    return result


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split ``key=value`` from a command line; the value is read as TOML, and as a string where it is none.

    Raises:
        ScenarioError: without ``=``, or over several lines.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ScenarioError(f"expected key=value, got {text!r}")
    if "\n" in key or "\n" in value.strip():
        raise ScenarioError(f"expected key=value on one line, got {text!r}")
    if value.strip().lower() == "none":
        return key.strip(), None
    try:
        return key.strip(), parse_toml_value(value)
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
