"""Tables: records arranged as a reader wants them, with the digits that their intervals allow."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wirelessgym.options import is_number
from wirelessgym.record import Record, Value
from wirelessgym.report.labels import field_label

ABSENT = "–"
UP, DOWN = "↑", "↓"


@dataclass(frozen=True)
class Cell:
    """One entry of a table.

    Attributes:
        text: what stands in it.
        interval: its 95 % interval or a second line, in small print.
        order: what it is sorted by, None last.
        best: whether it is the best of its column.
    """

    text: str
    interval: str = ""
    order: float | str | None = None
    best: bool = False


@dataclass(frozen=True)
class Column:
    """Head of a column.

    Attributes:
        title: name.
        unit: unit, or what its second line is.
        direction: an arrow towards better, or nothing.
        numeric: whether it is set flush right.
    """

    title: str
    unit: str = ""
    direction: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Row:
    """One agent.

    Attributes:
        role: as in `Record.role`.
        failed: whether it raised.
        cells: one for each column.
    """

    role: str
    failed: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table; agents first, floor and bound after them."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Section:
    """Records that share everything but the agent and, in a sweep, the swept field.

    Attributes:
        task: task id.
        scenario: scenario id.
        axis: swept field, None without a sweep.
        points: value of the swept field (None without) and the records there, in ascending order.
    """

    task: str
    scenario: str
    axis: str | None
    points: tuple[tuple[Any, tuple[Record, ...]], ...]

    @property
    def records(self) -> list[Record]:
        """All records, point by point."""
        return [record for _, records in self.points for record in records]

    @property
    def first(self) -> Record:
        """A record that speaks for what all share."""
        return next((r for r in self.records if r.role == "agent"), self.records[0])

    @property
    def agents(self) -> list[str]:
        """Names in order of first appearance, agents before floor and bound."""
        return list(dict.fromkeys(record.agent for record in by_role(self.records)))


def sections(records: Iterable[Record]) -> list[Section]:
    """Arrange records in sections, in order of first appearance; in each, agents stand best first (over all points)."""
    grouped: dict[str, dict[str, tuple[Any, list[Record]]]] = {}
    for record in records:
        value = record.sweep.value if record.sweep else None
        at_point = grouped.setdefault(_shared_settings(record), {})
        at_point.setdefault(json.dumps(value, default=str), (value, []))[1].append(record)
    found = []
    for at_point in grouped.values():
        points = sorted(at_point.values(), key=lambda point: _order(point[0]))
        place = _places(record for _, at_point in points for record in at_point)
        points = [(value, sorted(at_point, key=lambda r: place[r.agent])) for value, at_point in points]
        first = points[0][1][0]
        axis = first.sweep.axis if first.sweep else None
        found.append(Section(first.task, first.scenario, axis, tuple((value, tuple(rs)) for value, rs in points)))
    return found


def _places(records: Iterable[Record]) -> dict[str, int]:
    """Each agent's place by the sum of its headline means; one that failed anywhere comes after those that did not."""
    sums: dict[str, float] = {}
    for record in records:
        mean = record.value.mean if record.value and record.value.mean is not None else math.inf
        worse = -mean if record.higher_is_better and mean != math.inf else mean
        sums[record.agent] = sums.get(record.agent, 0.0) + worse
    return {agent: place for place, agent in enumerate(sorted(sums, key=lambda agent: (sums[agent], agent)))}


def _shared_settings(record: Record) -> str:
    axis = record.sweep.axis if record.sweep else None
    settings: dict[str, Any] = {**record.scenario_settings, **record.task_options}
    if axis is not None:
        head, _, rest = axis.partition(".")
        inner = settings.pop(head, None)
        if rest and isinstance(inner, dict):
            settings[head] = {key: value for key, value in inner.items() if key != rest}
    shared = [record.task, record.scenario, axis, record.seed, record.episodes, settings]
    return json.dumps(shared, sort_keys=True, default=str)


def _order(value: Any) -> tuple[int, float, str]:
    return (0, float(value), "") if is_number(value) else (1, 0.0, str(value))


def label(value: Any) -> str:
    """A swept value as text."""
    return f"{value:g}" if is_number(value) else str(value)


def by_role(records: Iterable[Record]) -> list[Record]:
    """Agents first, then floor, then bound."""
    return sorted(records, key=lambda record: ("agent", "floor", "genie", "bound").index(record.role))


def number(value: float | None, spread: float = 0.0) -> str:
    """A number with two digits of its ``spread`` (half of its interval), or four digits without one."""
    if value is None or not math.isfinite(value):
        return ABSENT
    last = math.floor(math.log10(spread)) - 1 if spread > 0 else math.floor(math.log10(abs(value) or 1)) - 3
    text = f"{value:.2e}" if last < -7 or abs(value) >= 1e7 else f"{value:.{max(-last, 0)}f}"
    return text.replace("-", "−")


def interval(low: float, high: float) -> str:
    """An interval in brackets, with the digits its width allows."""
    spread = (high - low) / 2
    return f"[{number(low, spread)}, {number(high, spread)}]"


def measured(value: Value | None, best: bool = False) -> Cell:
    """A metric's mean and interval. A mean without an interval is not shown."""
    if value is None or value.mean is None or value.ci95 is None:
        return Cell(ABSENT)
    low, high = value.ci95
    return Cell(number(value.mean, (high - low) / 2), interval(low, high), value.mean, best)


def scalar_metrics(records: Sequence[Record]) -> list[str]:
    """Names of the metrics that get a column: the headline, then the others.

    Entries of vectors have none, and neither has what is the same for all: a precoder that was never scaled down, say.
    """
    names = dict.fromkeys([records[0].headline])
    for record in records:
        names |= dict.fromkeys(n for n in record.metrics if "[" not in n and not n.endswith("_per_episode"))
    return [n for n in names if n == records[0].headline or not _same_for_all(records, n)]


def _same_for_all(records: Sequence[Record], metric: str) -> bool:
    found = [record.metrics[metric] for record in records if metric in record.metrics]
    return len(found) > 1 and len({(value.mean, value.ci95) for value in found}) == 1


def best_agents(records: Iterable[Record], metric: str) -> set[str]:
    """The agents with the best mean: more than one where they tie, none where all do."""
    means = {
        r.agent: value.mean if value.higher_is_better else -value.mean
        for r in records
        if r.role == "agent" and (value := r.metrics.get(metric)) and value.mean is not None
    }
    winners = {agent for agent, mean in means.items() if mean == max(means.values())}
    return winners if len(winners) < len(means) or len(means) == 1 else set()


def best_agent(records: Sequence[Record], metric: str) -> str | None:
    """The agent with the best mean, the first of them where several tie; None where all do or none has one."""
    winners = best_agents(records, metric)
    return next((record.agent for record in records if record.agent in winners), None)


def arrow(higher_is_better: bool) -> str:
    """An arrow towards better."""
    return UP if higher_is_better else DOWN


def unit_label(unit: str) -> str:
    """A unit as it stands in a column's head; pure numbers have none."""
    return "" if unit == "1" else unit


def point_table(records: Sequence[Record]) -> Table:
    """The comparison at one point: metrics, paired difference, gap to the bound, latency, parameters."""
    rows = by_role(records)
    names = scalar_metrics(rows)
    best = {name: best_agents(rows, name) for name in names}
    units = {name: value for record in rows for name, value in record.metrics.items()}
    columns = [Column("agent", numeric=False)]
    columns += [
        Column(name, unit_label(units[name].unit), arrow(units[name].higher_is_better)) if name in units else Column(name)
        for name in names
    ]
    reference = next((r.paired.reference for r in rows if r.paired), None)
    if reference is not None:
        columns += [Column(f"Δ {rows[0].headline}", f"to {reference}"), Column("p", "Holm")]
    if any(r.gap_to_bound for r in rows):
        columns.append(Column("gap to bound", "", DOWN))
    columns += [Column("latency", "ms, median", DOWN), Column("parameters")]
    known = any(r.training for r in rows)
    if known:
        columns.append(Column("training", numeric=False))
    late = any(r.fallbacks is not None for r in rows)
    if late:
        columns.append(Column("late answers", "", DOWN))

    def cells(record: Record) -> Iterable[Cell]:
        yield _name(record.agent, record.role, record.status == "failed")
        for name in names:
            yield measured(record.metrics.get(name), record.role == "agent" and record.agent in best[name])
        if reference is not None:
            yield from _paired_cells(record, reference)
        if any(r.gap_to_bound for r in rows):
            yield _gap_cell(record)
        yield _latency_cell(record)
        yield Cell(f"{record.parameters:,}", order=float(record.parameters)) if record.role == "agent" else Cell(ABSENT)
        if known:
            yield Cell((record.training or ABSENT) if record.role == "agent" else ABSENT)
        if late:
            yield Cell(ABSENT if record.fallbacks is None else f"{record.fallbacks:,}", order=record.fallbacks)

    return Table(tuple(columns), tuple(Row(r.role, r.status == "failed", tuple(cells(r))) for r in rows))


def _name(agent: str, role: str, failed: bool) -> Cell:
    """The name, and what the row is where that isn't plain."""
    mark = "failed" if failed else role if role not in ("agent", agent) else ""
    return Cell(agent, mark, agent)


def _paired_cells(record: Record, reference: str) -> tuple[Cell, Cell]:
    if record.paired is None:
        return Cell("reference" if record.agent == reference else ABSENT), Cell(ABSENT)
    low, high = record.paired.ci95
    text = number(record.paired.difference, (high - low) / 2)
    sign = "+" if record.paired.difference > 0 else ""
    p = record.paired.p_value_corrected
    difference = Cell(sign + text, interval(low, high), record.paired.difference)
    return difference, Cell(p_value(p), order=p)


def p_value(p: float) -> str:
    """A p-value as papers print it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _gap_cell(record: Record) -> Cell:
    gap = record.gap_to_bound
    if gap is None:
        return Cell(ABSENT)
    return Cell(number(gap.mean, (gap.ci95[1] - gap.ci95[0]) / 2), interval(*gap.ci95), gap.mean)


def _latency_cell(record: Record) -> Cell:
    if record.latency_s is None:
        return Cell(ABSENT)
    p50, p95 = (f"{seconds * 1e3:.3g}" for seconds in (record.latency_s.p50, record.latency_s.p95))
    return Cell(p50, f"p95 {p95}", record.latency_s.p50)


def sweep_table(section: Section) -> Table:
    """The headline metric of every agent (rows) at every point of a sweep (columns)."""
    columns = [Column("agent", f"by {field_label(section.axis or '')}", numeric=False)]
    columns += [Column(label(value)) for value, _ in section.points]
    best = [best_agents(records, section.first.headline) for _, records in section.points]
    roles = {record.agent: record.role for record in section.records}
    rows = []
    for agent in section.agents:
        failed = any(r.agent == agent and r.status == "failed" for r in section.records)
        cells = [_name(agent, roles[agent], failed)]
        for (_, records), winners in zip(section.points, best, strict=True):
            record = next((r for r in records if r.agent == agent), None)
            cells.append(measured(record.value if record else None, agent in winners))
        rows.append(Row(roles[agent], failed, tuple(cells)))
    return Table(tuple(columns), tuple(rows))


def shortened(table: Table, agents: Sequence[str] = (), rows: int | None = None) -> Table:
    """Return a table with some of its agents' rows.

    Args:
        table: any.
        agents: which ones; empty for all. Rows of other roles stay.
        rows: most rows of any role; agents are taken from the top, None for all.

    Raises:
        ValueError: for an agent that has no row, or fewer rows than the other roles take.
    """
    names = [row.cells[0].text for row in table.rows if row.role == "agent"]
    if unknown := sorted(set(agents) - set(names)):
        raise ValueError(f"agents: no row here is called {unknown[0]!r}; there are: {', '.join(names)}")
    others = len(table.rows) - len(names)
    if rows is not None and rows <= others:
        raise ValueError(f"rows: expected more than {others}, which floor and bound take, got {rows}")
    kept = [name for name in names if not agents or name in agents][: None if rows is None else rows - others]
    return replace(table, rows=tuple(row for row in table.rows if row.role != "agent" or row.cells[0].text in kept))
