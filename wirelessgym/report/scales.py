"""Scales: from values to places on an axis, with ticks where a reader expects them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MINUS = "−"
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes:
        low: value at ``start``.
        high: value at ``end``.
        start: place of the lower end, in the figure's units.
        end: place of the upper end.
        logarithmic: whether equal steps are equal factors; then ``low`` is positive.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies; one beyond an end lies at that end."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def clips(self, value: float) -> bool:
        """Whether a value lies below the axis, such as an exact zero on a logarithmic one."""
        return value < self.low

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Round values within the axis, with their text."""
        if not self.logarithmic:
            return _linear_ticks(self.low, self.high, most)
        decades = math.log10(self.high / self.low)
        digits = (1, 2, 5) if decades < 2.5 else (1,)
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = max(1, math.ceil((last - first) / (most + 2)))
        values = [digit * 10.0**power for power in range(first, last + 1) if power % every == 0 for digit in digits]
        return [(value, _short(value)) for value in values if self.low * 0.999 <= value <= self.high * 1.001]


def linear(values: Sequence[float], start: float, end: float, from_zero: bool = False) -> Scale:
    """A linear scale with some room around the values; from zero if so wanted."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or abs(high) or 1.0
    return Scale(0.0 if from_zero and low >= 0 else low - room, high + room, start, end)


def logarithmic(values: Sequence[float], start: float, end: float, floor: float) -> Scale:
    """A logarithmic scale down to ``floor`` or the lowest value above it, with some room around the values."""
    shown = [value for value in values if value >= floor] or [floor]
    low, high = min(shown), max(shown)
    room = (high / low) ** 0.06 if high > low else 2.0
    return Scale(low / room, high * room, start, end, True)


def _linear_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) + (1 if abs(step / power - 2.5) < 1e-9 else 0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(index * step, f"{index * step:.{digits}f}".replace("-", MINUS)) for index in range(first, last + 1)]


def _short(value: float) -> str:
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    power = math.floor(math.log10(value) + 1e-9)
    factor = round(value / 10.0**power)
    return ("" if factor == 1 else f"{factor}·") + "10" + str(power).translate(SUPERSCRIPTS)
