"""Options of tasks and agents, checked against the annotations of the class that takes them.

An annotation says what an option accepts: ``slots: Annotated[int, Field(ge=1, le=9)] = 4``, ``mode: Literal["fast", "exact"]``.
Numbers given as text, truth values given as numbers, fractions given as integers, NaN and infinity are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from typing import Any, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def check_options(who: str, owner: type, options: Mapping[str, Any]) -> None:
    """Refuse options of the wrong type or out of range.

    Args:
        who: begins the message.
        owner: the class whose annotations count; options that it doesn't annotate pass.
        options: name to value.

    Raises:
        ValueError: naming the option, what is allowed and what came.
    """
    hints = _hints(owner)
    for option, value in options.items():
        if option not in hints:
            continue
        kind = _adapter(hints[option])
        try:
            _validate(kind, value)
        except ValidationError as error:
            problem = error.errors()[0]
            schema = kind.json_schema() if problem["type"] in OUT_OF_RANGE else {}
            raise ValueError(f"{who}: {option}: {refusal(problem, schema)}, got {value!r:.200}") from None


def accepts_none(owner: type, option: str) -> bool:
    """Whether the annotation of an option lets it be None; no where it has none, or one for type checkers only."""
    hints = _hints(owner)
    try:
        return option in hints and _adapter(hints[option]).validate_python(None) is None
    except ValidationError:
        return False


def is_number(value: object) -> bool:
    """Whether ``value`` is a real number; truth values aren't."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def whole_number(name: str, value: object) -> int:
    """Return an argument that has to be an integer.

    Raises:
        TypeError: for anything else, naming the argument and what came.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    return int(value)


def require_at_least_one(owner: object, *names: str) -> None:
    """Check options of an agent that count something.

    Raises:
        ValueError: for the first that is below 1.
    """
    for name in names:
        if (value := getattr(owner, name)) < 1:
            raise ValueError(f"{name}: expected an integer >= 1, got {value}")


def refusal(problem: Any, schema: Mapping[str, Any]) -> str:
    """What was expected instead, in words, from a complaint of pydantic's and the field's JSON schema."""
    if schema and problem["type"] in OUT_OF_RANGE:
        return f"allowed is {_allowed_range(schema)}"
    message: str = problem["msg"].removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def _allowed_range(schema: Mapping[str, Any]) -> str:
    """The bounds of a field, which may stand in one of several alternatives."""
    ends = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    schemas = [schema]
    while not any(end in schemas[0] for end in ends):
        schemas = schemas[0].get("anyOf", []) + schemas[1:]
    least, above, most, below = (schemas[0].get(end) for end in ends)
    if least is not None and most is not None:
        return f"{least} to {most}"
    words = (f"at least {least}", f"above {above}", f"up to {most}", f"below {below}")
    return ", ".join(word for word, end in zip(words, (least, above, most, below), strict=True) if end is not None)


@cache
def _hints(owner: type) -> Mapping[str, Any]:
    """Annotations of the constructor's parameters; none where they name what is imported for type checkers only."""
    try:
        return get_type_hints(owner if is_dataclass(owner) else vars(owner).get("__init__", owner), include_extras=True)
    except NameError:
        return {}


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    if is_dataclass(hint) or (isinstance(hint, type) and issubclass(hint, BaseModel)):
        return TypeAdapter(hint)  # these bring a configuration of their own
    return TypeAdapter(hint, config=ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False))


def _validate(kind: TypeAdapter[Any], value: Any) -> None:
    """Numpy's numbers count as Python's, and lists, which is all that TOML and JSON have, as tuples too."""
    if isinstance(value, np.generic):
        value = value.item()
    try:
        kind.validate_python(value)
    except ValidationError:
        if not isinstance(value, list):
            raise
        kind.validate_python(tuple(value))


def split(values: Sequence[str]) -> list[str]:
    """Split at commas that stand outside brackets and quotes."""
    parts, depth, quoted = [""], 0, False
    for character in ",".join(values):
        quoted ^= character == '"'
        depth += (character in "[{") - (character in "]}")
        if character == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
