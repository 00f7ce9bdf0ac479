"""Writing TOML: what a training configuration needs of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_toml(data: Mapping[str, Any]) -> str:
    """Return ``data`` (strings, numbers, booleans, lists, dicts; lists of dicts become arrays of tables) as a TOML document."""
    return "\n".join(_table(data, "")) + "\n"


def _table(data: Mapping[str, Any], prefix: str) -> list[str]:
    tables = {k: v for k, v in data.items() if isinstance(v, Mapping) and v}
    arrays = {k: v for k, v in data.items() if isinstance(v, list) and v and all(isinstance(one, Mapping) for one in v)}
    lines = [f"{_key(k)} = {_value(v)}" for k, v in data.items() if k not in tables and k not in arrays]
    for key, table in tables.items():
        lines += ["", f"[{prefix}{_key(key)}]", *_table(table, f"{prefix}{_key(key)}.")]
    for key, entries in arrays.items():
        for entry in entries:
            lines += ["", f"[[{prefix}{_key(key)}]]", *_table(entry, f"{prefix}{_key(key)}.")]
    return lines


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # TOML's basic strings, numbers and booleans are written as JSON's
