"""Printed tables: a comparison as a terminal shows it, headline metric only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from wirelessgym.evaluate.summary import BEYOND
from wirelessgym.record import Record, Value
from wirelessgym.report.labels import field_label
from wirelessgym.report.tables import ABSENT, Section, arrow, best_agent, by_role, number, p_value, sections, unit_label
from wirelessgym.report.verdict import verdict


def printed(records: Sequence[Record]) -> Iterator[Table | Text]:
    """Yield what rich prints: a table for each task, scenario and sweep, then a line for each failed agent."""
    for section in sections(records):
        first = section.first
        title = f"{first.task} in {first.scenario}, {first.episodes} episodes, seed {first.seed}"
        if section.axis is None:
            yield Text(title, style="bold")
            yield _point(section)
        else:
            yield Text(f"{title}: {_headline(first)}", style="bold")
            yield _swept(section)
        if said := verdict(section):
            yield Text.assemble(("Verdict. ", "bold"), said, "\n")
    for record in records:
        for note in record.notes:
            if BEYOND in note:
                yield Text(note, style="yellow")
        if record.traceback is not None:
            at = f" at {record.sweep.axis} = {record.sweep.value}" if record.sweep else ""
            yield Text(f"{record.agent} failed{at}: {record.traceback.strip().splitlines()[-1]}", style="red")


def _point(section: Section) -> Table:
    records = by_role(section.records)
    table = _table()
    reference = next((r.paired.reference for r in records if r.paired), None)
    late = any(r.fallbacks is not None for r in records)
    heads = [_headline(section.first)]
    heads += [f"Δ to {reference}", "p (Holm)"] if reference is not None else []
    heads += ["gap to bound", "ms p50", "p95", "parameters", *(["late"] if late else [])]
    for head in heads:
        table.add_column(escape(head), justify="right")
    best = best_agent(records, section.first.headline)
    for record in records:
        cells = [_measured(record.value, record.role == "agent" and record.agent == best)]
        if reference is not None:
            cells += _paired(record, reference)
        gap, latency = record.gap_to_bound, record.latency_s
        cells.append(Text(_with_half(gap.mean, gap.ci95) if gap else ABSENT))
        cells += [Text(f"{1e3 * s:.3g}") for s in (latency.p50, latency.p95)] if latency else [Text(ABSENT)] * 2
        cells.append(Text(f"{record.parameters:,}" if record.role == "agent" else ABSENT))
        if late:
            cells.append(Text(ABSENT if record.fallbacks is None else f"{record.fallbacks:,}"))
        table.add_row(Text(record.agent), *cells, style=_style(record))
    return table


def _swept(section: Section) -> Table:
    table = _table()
    for value, _ in section.points:
        table.add_column(escape(f"{field_label(section.axis or '')}\n{value}"), justify="right")
    best = [best_agent(records, section.first.headline) for _, records in section.points]
    for agent in section.agents:
        found = [next((r for r in records if r.agent == agent), None) for _, records in section.points]
        cells = [_measured(record.value if record else None, agent == winner) for record, winner in zip(found, best, strict=True)]
        table.add_row(Text(agent), *cells, style=_style(next(record for record in found if record)))
    return table


def _table() -> Table:
    table = Table(box=box.SIMPLE)
    table.add_column("agent", no_wrap=True)
    return table


def _headline(record: Record) -> str:
    unit = unit_label(record.value.unit) if record.value else ""
    return " ".join(part for part in (record.headline, arrow(record.higher_is_better), unit) if part)


def _style(record: Record) -> str:
    if record.status == "failed":
        return "red"
    return "dim" if record.role != "agent" else ""


def _measured(value: Value | None, best: bool) -> Text:
    if value is None or value.mean is None or value.ci95 is None:
        return Text(ABSENT)
    return Text(_with_half(value.mean, value.ci95), style="bold" if best else "")


def _paired(record: Record, reference: str) -> list[Text]:
    if record.paired is None:
        return [Text("reference" if record.agent == reference else ABSENT), Text(ABSENT)]
    sign = "+" if record.paired.difference > 0 else ""
    difference = sign + _with_half(record.paired.difference, record.paired.ci95)
    return [Text(difference), Text(p_value(record.paired.p_value_corrected))]


def _with_half(mean: float, ci95: tuple[float, float]) -> str:
    half = (ci95[1] - ci95[0]) / 2
    return f"{number(mean, half)} ± {number(half, half)}"
