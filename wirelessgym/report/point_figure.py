"""The figure of a single point: a dot with its 95 % interval for each agent, best on top."""

from __future__ import annotations

from collections.abc import Sequence

from wirelessgym.record import Record
from wirelessgym.report import shapes
from wirelessgym.report.figures import (
    BOTTOM,
    LOGARITHMIC_FROM,
    RIGHT,
    TOP,
    WIDTH,
    Figure,
    Plot,
    described,
    drawing,
    kinds,
    value_scale,
    with_interval,
)
from wirelessgym.report.labels import capitalised, metric_name
from wirelessgym.report.scales import Scale
from wirelessgym.report.tables import Section, by_role, unit_label

ROW = 27.0
LETTER = 8.6  # of the narrow page's larger type
LONGEST = 24  # letters of a name
FLOOR_WITHIN = 3.0  # a floor further away than this many times the spread of all others is named beside the axis


def point_figure(section: Section) -> Figure | None:
    """Headline metric of every agent at one point: dots with 95 % intervals, best on top; None where nobody has a value."""
    shown = [r for r in by_role(section.records) if r.value and r.value.mean is not None and r.value.ci95]
    agents = [r for r in shown if r.role == "agent"]
    if not agents:
        return None
    limits = [r for r in shown if r.role != "agent"]
    near = [r for r in limits if r.role != "floor" or _near(r, [other for other in shown if other is not r])]
    away = [f"{r.agent} at {with_interval(r)}, off the axis" for r in limits if r not in near]
    plots = tuple(_point_plot(agents, near, kind) for kind in kinds([*agents, *near]))
    return Figure(plots, note="; ".join(away))


def _point_plot(agents: Sequence[Record], near: Sequence[Record], kind: str) -> Plot:
    left = 18.0 + LETTER * max(len(_short(r.agent)) for r in agents)
    top = TOP + (18.0 if near else 0.0)
    foot = top + ROW * len(agents)
    scale = value_scale([v for r in (*agents, *near) if (v := r.value)], [*agents, *near], kind, left, WIDTH - RIGHT - 16)
    parts = []
    for value, words in scale.ticks(5):
        place = scale.place(value)
        parts += [shapes.line(place, top, place, foot, "grid"), shapes.text(place, foot + 24, words)]
    parts += [_limit(record, scale, left, top, foot) for record in near]
    for row, record in enumerate(agents):
        y = top + ROW * (row + 0.5)
        parts.append(shapes.text(left - 12, y + 5, _short(record.agent), "end", "best" if row == 0 else ""))
        parts.append(f'<g class="series {"s0" if row == 0 else "limit"}">{_dot(record, scale, y)}</g>')
    parts.append(shapes.text((left + WIDTH - RIGHT) / 2, foot + BOTTOM - 10, _axis_label(agents[0]), name="title"))
    title = f"{metric_name(agents[0].headline)} of {', '.join(record.agent for record in agents)}"
    clipped = any(scale.clips(_numbers(record)[0]) for record in (*agents, *near))
    return Plot(kind, drawing(parts, foot + BOTTOM, title, kind), clipped)


def _dot(record: Record, scale: Scale, y: float) -> str:
    mean, low, high = _numbers(record)
    x = scale.place(mean)
    mark = shapes.clipped_marker(x, y) if scale.clips(mean) else shapes.marker(0, x, y, 4.6)
    shape = shapes.line(scale.place(low), y, scale.place(high), y, "interval") + mark
    return described(x, y, f"{record.agent}: {with_interval(record)}", shape)


def _limit(record: Record, scale: Scale, left: float, top: float, foot: float) -> str:
    """An upright line with its interval as a band, named above."""
    mean, *ends = _numbers(record)
    x, (low, high) = scale.place(mean), map(scale.place, ends)
    size = f'width="{max(high - low, 0.1):.1f}" height="{foot - top:.1f}"'
    shape = f'<rect class="band" x="{low:.1f}" y="{top:.1f}" {size}/>'
    shape += shapes.curve([(x, top), (x, foot)], shapes.dashes(record.role, 0))
    shape += shapes.text(min(max(x, left + 30), WIDTH - RIGHT - 30), top - 6, record.agent)
    shape += shapes.clipped_marker(x, foot) if scale.clips(mean) else ""
    return f'<g class="limit">{described(x, (top + foot) / 2, f"{record.agent}: {with_interval(record)}", shape)}</g>'


def _numbers(record: Record) -> tuple[float, float, float]:
    """Mean and interval of a record that has them."""
    if record.value is None or record.value.mean is None or record.value.ci95 is None:
        raise ValueError(f"{record.agent} has no {record.headline}")
    return record.value.mean, *record.value.ci95


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


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
