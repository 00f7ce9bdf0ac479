"""The figure of a sweep: the headline metric over the swept field, a curve with a 95 % band for each agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from markupsafe import Markup

from wirelessgym.options import is_number
from wirelessgym.record import Value
from wirelessgym.report import shapes
from wirelessgym.report.figures import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Figure,
    Plot,
    described,
    drawing,
    kinds,
    measured_text,
    value_scale,
)
from wirelessgym.report.labels import capitalised, field_label, field_name, field_unit, metric_name
from wirelessgym.report.scales import Scale, linear
from wirelessgym.report.tables import Section, label

HEIGHT = 380.0


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
    plots = [_sweep_plot(section, curves, kind) for kind in kinds(section.records)]
    keys = [(c.number, Markup(shapes.key(c.role, c.index, c.agent))) for c in curves]
    return Figure(tuple(plots), tuple(keys))


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
    y_scale = value_scale([v for c in curves for *_, v in c.at], section.records, kind, HEIGHT - BOTTOM, TOP)
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
    return Plot(kind, drawing(parts, HEIGHT, title, kind), clipped)


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
        words = f"{curve.agent} at {field_name(section.axis or '')} {name}{f' {unit}' if unit else ''}: {measured_text(value)}"
        parts.append(described(a, y_scale.place(mean), words, shape))
    name = shapes.series_class(curve.role, curve.index)
    return f'<g class="series {name}" data-curve="{curve.number}">{"".join(parts)}</g>'


def _grid(scale: Scale) -> str:
    parts = []
    for value, words in scale.ticks():
        place = scale.place(value)
        parts += [shapes.line(LEFT, place, WIDTH - RIGHT, place, "grid"), shapes.text(LEFT - 9, place + 4.5, words, "end")]
    return "".join([*parts, shapes.line(LEFT, scale.start, WIDTH - RIGHT, scale.start, "axis")])


def _numeric(section: Section) -> bool:
    return all(is_number(value) for value, _ in section.points)
