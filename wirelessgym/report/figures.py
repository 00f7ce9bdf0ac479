"""Figures: what those of sweeps and of single points share. They are SVG that stands inside a page.

They are complete without the page's script, which adds nearest values under the pointer, curves that come and go, and the switch
between logarithmic and linear. Colours and sizes are the page's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from wirelessgym.record import Record, Value
from wirelessgym.report.scales import Scale, linear, logarithmic
from wirelessgym.report.tables import measured, unit_label

WIDTH = 640.0
LEFT, RIGHT, TOP, BOTTOM = 74.0, 14.0, 14.0, 64.0
LOGARITHMIC_FROM = 20.0  # errors that span more than this factor get a logarithmic axis
BELOW_AGENTS = 100.0  # a logarithmic axis goes down to the best agent's mean over this, since bounds may lie far below,
MOST_DECADES = 5.0  # but no further than this below the worst agent's


@dataclass(frozen=True)
class Plot:
    """A figure on one kind of axis.

    Attributes:
        scale: ``"log"`` or ``"linear"``.
        svg: the drawing.
        clipped: whether something lies below the axis.
    """

    scale: str
    svg: Markup
    clipped: bool


@dataclass(frozen=True)
class Figure:
    """A figure as the page shows it.

    Attributes:
        plots: the same on each kind of axis, the one to start with first.
        keys: the legend: number of a curve and its sample; empty where rows are named.
        note: what isn't on the axis, in words.
    """

    plots: tuple[Plot, ...]
    keys: tuple[tuple[int, Markup], ...] = ()
    note: str = ""


def described(x: float, y: float, words: str, shape: str) -> str:
    """What the pointer finds: a place, its mark and what it says."""
    return f'<g class="point" data-x="{x:.1f}" data-y="{y:.1f}"><title>{escape(words)}</title>{shape}</g>'


def kinds(records: Sequence[Record]) -> list[str]:
    """The axes to offer, the first to start with: logarithmic for errors that span more than an order of magnitude."""
    means = [r.value.mean for r in records if r.value and r.value.mean is not None and r.role in ("agent", "floor")]
    if any(record.higher_is_better for record in records) or not means or min(means) < 0 or max(means) == 0:
        return ["linear"]
    return ["log", "linear"] if max(means) >= LOGARITHMIC_FROM * min(means) else ["linear", "log"]


def value_scale(values: Sequence[Value], records: Sequence[Record], kind: str, start: float, end: float) -> Scale:
    """The axis on which values and their intervals have room; a logarithmic one may leave out the lowest."""
    ends = [end for value in values for end in (value.mean, *(value.ci95 or ())) if end is not None]
    if kind == "linear":
        return linear(ends, start, end, from_zero=not records[0].higher_is_better)
    positive = [r.value.mean for r in records if r.value and r.value.mean and r.value.mean > 0]
    agents = [r.value.mean for r in records if r.role == "agent" and r.value and r.value.mean and r.value.mean > 0]
    shown = agents or positive
    return logarithmic(ends, start, end, max(min(shown) / BELOW_AGENTS, max(shown) / 10**MOST_DECADES))


def with_interval(record: Record) -> str:
    """The headline metric with its interval and unit."""
    return measured_text(record.value) if record.value else ""


def measured_text(value: Value) -> str:
    """A mean with its interval and unit."""
    cell = measured(value)
    return " ".join(part for part in (cell.text, cell.interval, unit_label(value.unit)) if part)


def drawing(parts: Sequence[str], height: float, title: str, kind: str) -> Markup:
    """The drawing on one kind of axis, described by its title."""
    return Markup(
        f'<svg class="plot" data-scale="{kind}" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
