"""Figures: curves with bands for sweeps, dots with intervals for single points, as SVG to stand inside a page.

They are complete without the page's script, which adds nearest values under the pointer, curves that come and go, and the switch
between logarithmic and linear. Colours and sizes are the page's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from markupsafe import Markup, escape

from wirelessgym.options import is_number
from wirelessgym.record import Record, Value
from wirelessgym.report import shapes
from wirelessgym.report.labels import capitalised, field_label, field_name, field_unit, metric_name
from wirelessgym.report.scales import Scale, linear, logarithmic
from wirelessgym.report.tables import Section, by_role, label, measured, unit_label

WIDTH, HEIGHT = 640.0, 380.0
LEFT, RIGHT, TOP, BOTTOM = 74.0, 14.0, 14.0, 64.0
ROW = 27.0
LETTER = 8.6  # of the narrow page's larger type
LOGARITHMIC_FROM = 20.0  # errors that span more than this factor get a logarithmic axis
BELOW_AGENTS = 4.0  # a logarithmic axis goes down to the best agent's mean over this: bounds may lie decades below,
MOST_DECADES = 5.0  # but no further than this below the worst agent's
FLOOR_WITHIN = 3.0  # a floor further away than this many times the spread of all others is named beside the axis


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


@dataclass(frozen=True)
class _Curve:
    """One agent's places and values."""

    number: int
    agent: str
    role: str
    index: int  # of colour, marker and dashes
    at: tuple[tuple[float, str, Value], ...]


def sweep_figure(section: Section) -> Figure | None:
    """Headline metric over the swept field with 95 % bands; None where nobody has a value."""
    curves = _curves(section)
    if not curves:
        return None
    plots = [_sweep_plot(section, curves, kind) for kind in _kinds(section.records)]
    keys = [(c.number, Markup(shapes.key(c.role, c.index, c.agent))) for c in curves]
    return Figure(tuple(plots), tuple(keys))


def point_figure(section: Section) -> Figure | None:
    """Headline metric of every agent at one point: dots with 95 % intervals, best on top; None where nobody has a value."""
    shown = [r for r in by_role(section.records) if r.value and r.value.mean is not None and r.value.ci95]
    agents = [r for r in shown if r.role == "agent"]
    if not agents:
        return None
    limits = [r for r in shown if r.role != "agent"]
    near = [r for r in limits if r.role != "floor" or _near(r, [other for other in shown if other is not r])]
    away = [f"{r.agent} at {_with_interval(r)}, off the axis" for r in limits if r not in near]
    plots = tuple(_point_plot(agents, near, kind) for kind in _kinds([*agents, *near]))
    return Figure(plots, note="; ".join(away))


def _curves(section: Section) -> list[_Curve]:
    values = [value for value, _ in section.points]
    numeric = all(is_number(value) for value in values)
    places = [float(value) for value in values] if numeric else [float(i) for i in range(len(values))]
    style = count()
    found: list[_Curve] = []
    for agent in section.agents:
        mine = [next((r for r in records if r.agent == agent), None) for _, records in section.points]
        at = [
            (x, label(value), record.value)
            for x, value, record in zip(places, values, mine, strict=True)
            if record and record.value and record.value.mean is not None and record.value.ci95
        ]
        if at:
            role = next(r.role for r in mine if r)
            found.append(_Curve(len(found), agent, role, next(style) if role == "agent" else 0, tuple(at)))
    return found


def _sweep_plot(section: Section, curves: Sequence[_Curve], kind: str) -> Plot:
    first = section.first
    y_scale = _scale([v for c in curves for *_, v in c.at], section.records, kind, HEIGHT - BOTTOM, TOP)
    at = {x: name for c in curves for x, name, _ in c.at}
    x_scale = linear(list(at), LEFT, WIDTH - RIGHT)
    parts = [_grid(y_scale)]
    few = len(at) <= 11
    for x, name in [(x, at[x]) for x in sorted(at)] if few or not _numeric(section) else x_scale.ticks():
        place = x_scale.place(x)
        parts += [
            shapes.line(place, HEIGHT - BOTTOM, place, HEIGHT - BOTTOM + 4, "axis"),
            shapes.text(place, HEIGHT - BOTTOM + 24, name),
        ]
    parts += [_curve(section, c, x_scale, y_scale) for c in curves]
    parts.append(shapes.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, capitalised(field_label(section.axis or "")), name="title"))
    title = f"{metric_name(first.headline)} over {field_name(section.axis or '')} for {', '.join(c.agent for c in curves)}"
    clipped = any(y_scale.clips(v.mean or 0.0) for c in curves for *_, v in c.at)
    return Plot(kind, _svg(parts, HEIGHT, title, kind), clipped)


def _curve(section: Section, curve: _Curve, x_scale: Scale, y_scale: Scale) -> str:
    x = [x_scale.place(place) for place, *_ in curve.at]
    ends = [value.ci95 or (0.0, 0.0) for *_, value in curve.at]
    parts = [
        shapes.band(
            [(a, y_scale.place(high)) for a, (_, high) in zip(x, ends, strict=True)],
            [(a, y_scale.place(low)) for a, (low, _) in zip(x, ends, strict=True)],
        ),
        shapes.curve(
            [(a, y_scale.place(value.mean or 0.0)) for a, (*_, value) in zip(x, curve.at, strict=True)],
            shapes.dashes(curve.role, curve.index),
        ),
    ]
    for a, (_, name, value) in zip(x, curve.at, strict=True):
        mean = value.mean or 0.0
        shape = shapes.marker(curve.index, a, y_scale.place(mean)) if curve.role == "agent" else ""
        shape = shapes.clipped_marker(a, y_scale.place(mean)) if y_scale.clips(mean) else shape
        unit = field_unit(section.axis or "")
        words = f"{curve.agent} at {field_name(section.axis or '')} {name}{f' {unit}' if unit else ''}: {_value(value)}"
        parts.append(_point(a, y_scale.place(mean), words, shape))
    name = shapes.series_class(curve.role, curve.index)
    return f'<g class="series {name}" data-curve="{curve.number}">{"".join(parts)}</g>'


def _point_plot(agents: Sequence[Record], near: Sequence[Record], kind: str) -> Plot:
    left = 18.0 + LETTER * max(len(r.agent[:24]) for r in agents)
    height = TOP + ROW * len(agents) + BOTTOM + (18.0 if near else 0.0)
    top, foot = TOP + (18.0 if near else 0.0), height - BOTTOM
    scale = _scale([v for r in (*agents, *near) if (v := r.value)], [*agents, *near], kind, left, WIDTH - RIGHT - 16)
    parts = []
    for value, words in scale.ticks(5):
        place = scale.place(value)
        parts += [shapes.line(place, top, place, foot, "grid"), shapes.text(place, foot + 24, words)]
    for record in near:
        low, high = (scale.place(end) for end in (record.value.ci95 if record.value and record.value.ci95 else (0.0, 0.0)))
        place = scale.place(record.value.mean or 0.0) if record.value else 0.0
        edge = min(max(place, left + 30), WIDTH - RIGHT - 30)
        parts.append(
            f'<rect class="limit band" x="{low:.1f}" y="{top:.1f}" width="{max(high - low, 0.1):.1f}" height="{foot - top:.1f}"/>'
        )
        mark = shapes.curve([(place, top), (place, foot)], shapes.dashes(record.role, 0)) + shapes.text(
            edge, top - 6, record.agent
        )
        parts.append(f'<g class="limit">{_point(place, (top + foot) / 2, f"{record.agent}: {_with_interval(record)}", mark)}</g>')
    for row, record in enumerate(agents):
        y = top + ROW * (row + 0.5)
        ends = record.value.ci95 if record.value and record.value.ci95 else (0.0, 0.0)
        mean = record.value.mean or 0.0 if record.value else 0.0
        mark = shapes.clipped_marker(scale.place(mean), y) if scale.clips(mean) else shapes.marker(0, scale.place(mean), y, 4.6)
        shape = shapes.line(scale.place(ends[0]), y, scale.place(ends[1]), y, "interval") + mark
        name = record.agent if len(record.agent) <= 24 else record.agent[:23] + "…"
        parts.append(shapes.text(left - 12, y + 5, name, "end", "best" if row == 0 else ""))
        words = f"{record.agent}: {_with_interval(record)}"
        parts.append(f'<g class="series {"s0" if row == 0 else "limit"}">{_point(scale.place(mean), y, words, shape)}</g>')
    axis = _axis_label(agents[0])
    parts.append(shapes.text((left + WIDTH - RIGHT) / 2, height - 10, axis, name="title"))
    title = f"{metric_name(agents[0].headline)} of {', '.join(record.agent for record in agents)}"
    clipped = any(scale.clips(r.value.mean or 0.0) for r in (*agents, *near) if r.value)
    return Plot(kind, _svg(parts, height, title, kind), clipped)


def _point(x: float, y: float, words: str, shape: str) -> str:
    """What the pointer finds: a place, its mark and what it says."""
    return f'<g class="point" data-x="{x:.1f}" data-y="{y:.1f}"><title>{escape(words)}</title>{shape}</g>'


def _grid(scale: Scale) -> str:
    parts = []
    for value, words in scale.ticks():
        place = scale.place(value)
        parts += [shapes.line(LEFT, place, WIDTH - RIGHT, place, "grid"), shapes.text(LEFT - 9, place + 4.5, words, "end")]
    return "".join([*parts, shapes.line(LEFT, scale.start, WIDTH - RIGHT, scale.start, "axis")])


def _kinds(records: Sequence[Record]) -> list[str]:
    """The axes to offer, the first to start with: logarithmic for errors that span more than an order of magnitude."""
    means = [r.value.mean for r in records if r.value and r.value.mean is not None and r.role in ("agent", "floor")]
    if any(record.higher_is_better for record in records) or not means or min(means) < 0 or max(means) == 0:
        return ["linear"]
    return ["log", "linear"] if max(means) >= LOGARITHMIC_FROM * min(means) else ["linear", "log"]


def _scale(values: Sequence[Value], records: Sequence[Record], kind: str, start: float, end: float) -> Scale:
    ends = [end for value in values for end in (value.mean, *(value.ci95 or ())) if end is not None]
    if kind == "linear":
        return linear(ends, start, end, from_zero=not records[0].higher_is_better)
    positive = [r.value.mean for r in records if r.value and r.value.mean and r.value.mean > 0]
    agents = [r.value.mean for r in records if r.role == "agent" and r.value and r.value.mean and r.value.mean > 0]
    shown = agents or positive
    return logarithmic(ends, start, end, max(min(shown) / BELOW_AGENTS, max(shown) / 10**MOST_DECADES))


def _numeric(section: Section) -> bool:
    return all(is_number(value) for value, _ in section.points)


def _near(floor: Record, others: Sequence[Record]) -> bool:
    """Whether a floor leaves room for telling the others apart."""
    ends = [end for r in others if r.value for end in r.value.ci95 or ()]
    if len(ends) < 4 or floor.value is None or floor.value.mean is None:
        return True
    if min(ends) > 0 and floor.value.mean > LOGARITHMIC_FROM * min(ends):
        return True
    return abs(floor.value.mean - (min(ends) + max(ends)) / 2) < FLOOR_WITHIN * (max(ends) - min(ends))


def _axis_label(record: Record) -> str:
    unit = unit_label(record.value.unit) if record.value else ""
    return capitalised(metric_name(record.headline)) + (f" ({unit})" if unit else "")


def _with_interval(record: Record) -> str:
    return _value(record.value) if record.value else ""


def _value(value: Value) -> str:
    cell = measured(value)
    return " ".join(part for part in (cell.text, cell.interval, unit_label(value.unit)) if part)


def _svg(parts: Sequence[str], height: float, title: str, kind: str) -> Markup:
    return Markup(
        f'<svg class="plot" data-scale="{kind}" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
