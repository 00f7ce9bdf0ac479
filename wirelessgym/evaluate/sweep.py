"""Sweeps: one field, scenario's or task's, and the values that a comparison visits."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from wirelessgym.io import parse_toml_value

MAX_POINTS = 1000


class SweepError(ValueError):
    """A sweep that can't be read."""


def parse_sweep(sweep: str | Mapping[str, Sequence[Any]]) -> tuple[str, list[Any]]:
    """Return the swept field and its values.

    Args:
        sweep: ``{"snr_db": [0, 5, 10]}``, ``"num_users=4,6,8"``, or start:stop:step with the stop included, as in
            ``"snr_db=0:20:5"``.

    Raises:
        SweepError: for more than one field, no value, a duplicate, or a range that doesn't end.
        TypeError: for something else than these.
    """
    if not isinstance(sweep, str | Mapping):
        raise TypeError(f"sweep: expected field=start:stop:step or {{field: values}}, got {sweep!r}")
    if isinstance(sweep, str):
        axis, equals, text = (part.strip() for part in sweep.partition("="))
        if not (axis and equals and text):
            raise SweepError(f"expected a sweep as field=start:stop:step or field=value,value, got {sweep!r}")
        values = _range(text, sweep) if text.count(":") == 2 else _listed(text)
    else:
        if len(sweep) != 1:
            raise SweepError(f"expected one swept field, got {len(sweep)}: {', '.join(map(str, sweep)) or 'none'}")
        axis, given = next(iter(sweep.items()))
        if not isinstance(axis, str):
            raise SweepError(f"expected the swept field's name, got {axis!r}")
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise SweepError(f"sweep of {axis}: expected a list of values, got {given!r}")
        values = list(given)
    if not values:
        raise SweepError(f"sweep of {axis}: no value")
    if len({repr(value) for value in values}) < len(values):
        raise SweepError(f"sweep of {axis}: duplicate value in {values}")
    return axis, values


def _listed(text: str) -> list[Any]:
    try:
        values: list[Any] = parse_toml_value(f"[{text}]")
    except tomllib.TOMLDecodeError:  # bare words
        values = [part.strip() for part in text.split(",")]
    return values


def _range(text: str, sweep: str) -> list[int] | list[float]:
    try:
        start, stop, step = (float(part) for part in text.split(":"))
    except ValueError:
        raise SweepError(f"expected numbers in start:stop:step, got {sweep!r}") from None
    if not all(map(math.isfinite, (start, stop, step))):
        raise SweepError(f"expected finite numbers in start:stop:step, got {sweep!r}")
    if not step or (stop - start) / step < 0:
        raise SweepError(f"the step of {sweep!r} doesn't lead from {start:g} to {stop:g}")
    steps = (stop - start) / step
    if steps >= MAX_POINTS:
        raise SweepError(f"{sweep!r} has {steps + 1:.4g} values, more than {MAX_POINTS}")
    count = int(steps + 1e-9) + 1
    values = [round(start + index * step, 12) for index in range(count)]
    whole = all(part.strip().lstrip("+-").isdigit() for part in text.split(":"))
    return [int(value) for value in values] if whole else values
