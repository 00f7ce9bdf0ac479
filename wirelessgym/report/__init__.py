"""Reports: records as one self-contained HTML page, as Markdown, and as CSV.

No mean is shown without its interval and the number of episodes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from wirelessgym import __version__
from wirelessgym.metrics import Metric
from wirelessgym.record import Record
from wirelessgym.registry import UnknownIdError, task_class
from wirelessgym.report import wording
from wirelessgym.report.figures import point_figure, sweep_figure
from wirelessgym.report.tables import Section, Table, arrow, label, point_table, sections, sweep_table

CSV_COLUMNS = (
    "task", "scenario", "sweep_axis", "sweep_value", "agent", "role", "status", "seed", "episodes", "metric", "unit",
    "higher_is_better", "mean", "ci95_low", "ci95_high", "bound", "gap_to_bound", "reference", "difference",
    "difference_low", "difference_high", "p_value", "p_value_corrected", "latency_p50_s", "latency_p95_s", "parameters",
)  # fmt: skip


@dataclass(frozen=True)
class _View:
    """A section as the templates see it."""

    section: Section
    heading: str
    setting: str
    sentence: str
    unit: str
    caption: str
    figure: str
    figure_caption: str
    overview: Table | None
    points: list[tuple[str, Table]]


def write_html(records: Sequence[Record], path: Path | str, title: str | None = None) -> Path:
    """Write one HTML page that needs nothing else: styles, script and figures stand inside it.

    Raises:
        ValueError: without records.
    """
    return _write(path, _render("report.html.j2", records, title, figures=True))


def write_markdown(records: Sequence[Record], path: Path | str, title: str | None = None) -> Path:
    """Write the tables, what was run and the notes as Markdown.

    Raises:
        ValueError: without records.
    """
    return _write(path, _render("report.md.j2", records, title, figures=False))


def write_csv(records: Sequence[Record], path: Path | str) -> Path:
    """Write one line for each record and metric; the paired difference stands in the headline metric's line."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CSV_COLUMNS)
        writer.writeheader()
        for record in records:
            writer.writerows(_csv_lines(record))
    return path


def _csv_lines(record: Record) -> list[dict[str, object]]:
    common: dict[str, object] = {
        "sweep_axis": record.sweep.axis if record.sweep else None,
        "sweep_value": record.sweep.value if record.sweep else None,
        "latency_p50_s": record.latency_s.p50 if record.latency_s else None,
        "latency_p95_s": record.latency_s.p95 if record.latency_s else None,
    }
    for name in ("task", "scenario", "agent", "role", "status", "seed", "episodes", "parameters"):
        common[name] = getattr(record, name)
    headline: dict[str, object] = {
        "bound": record.bound,
        "gap_to_bound": record.gap_to_bound.mean if record.gap_to_bound else None,
    }
    if record.paired:
        low, high = record.paired.ci95
        headline |= {"difference_low": low, "difference_high": high}
        headline |= {key: record.paired[key] for key in ("reference", "difference", "p_value", "p_value_corrected")}
    lines = []
    for name, value in record.metrics.items():
        ends = value.ci95 or (None, None)
        line = {"metric": name, "mean": value.mean, "ci95_low": ends[0], "ci95_high": ends[1]}
        line |= {"unit": value.unit, "higher_is_better": value.higher_is_better}
        lines.append({**common, **line, **(headline if name == record.headline else {})})
    return lines or [{**common, "metric": record.headline, **headline}]


def markdown_table(records: Sequence[Record]) -> str:
    """The headline tables alone, one for each task, scenario and sweep, each with its episodes and seed under it.

    Raises:
        ValueError: without records.
    """
    return "\n\n".join(
        f"{_markdown(view.overview or view.points[0][1])}\n\n{view.heading}: {view.caption}"
        for view in _views(records, figures=False)
    )


def _markdown(table: Table) -> str:
    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ")

    heads = [" ".join(p for p in (c.title, c.direction, f"({c.unit})" if c.unit else "") if p) for c in table.columns]
    lines = [heads, ["---:" if column.numeric else ":---" for column in table.columns]]
    for row in table.rows:
        line = [(f"**{c.text}**" if c.best else c.text) + (f" {c.interval}" if c.interval else "") for c in row.cells]
        line[0] = f"_{line[0]}_" if row.role != "agent" else line[0]
        lines.append(line)
    return "\n".join("| " + " | ".join(cell(text) for text in line) + " |" for line in lines)


def _views(records: Sequence[Record], figures: bool) -> list[_View]:
    if not records:
        raise ValueError("a report needs at least one record, got none")
    return [_view(section, figures) for section in sections(records)]


def _view(section: Section, figures: bool) -> _View:
    swept = section.axis is not None
    names = [f"{section.axis} = {label(value)}" if swept else "" for value, _ in section.points]
    draw = sweep_figure if swept else point_figure
    return _View(
        section=section,
        heading=wording.heading(section),
        setting=wording.setting(section),
        sentence=wording.result(section),
        unit=wording.unit_of(section.first).removeprefix(" in "),
        caption=wording.caption(section),
        figure=draw(section) if figures else "",
        figure_caption=wording.figure_caption(section),
        overview=sweep_table(section) if swept else None,
        points=list(zip(names, (point_table(records) for _, records in section.points), strict=True)),
    )


def _definitions(records: Sequence[Record]) -> list[Metric]:
    """Formula and source of every metric shown, from the tasks that are installed here."""
    shown = {name for record in records for name in record.metrics}
    found: dict[str, Metric] = {}
    for task in dict.fromkeys(record.task for record in records):
        try:
            found |= {metric.name: metric for metric in task_class(task).metrics if metric.name in shown}
        except UnknownIdError:  # the record comes from a machine that has more tasks
            continue
    return list(found.values())


def _render(template: str, records: Sequence[Record], title: str | None, figures: bool) -> str:
    views = _views(records, figures)
    runs = list(dict.fromkeys((r.provenance.git, r.provenance.dirty) for r in records))
    versions = {f"{name} {found}": None for r in records for name, found in r.provenance.versions.items()}
    return _templates().get_template(template).render(
        title=title or wording.title(records),
        version=__version__,
        views=views,
        agents=[name for name in dict.fromkeys(r.agent for r in records if r.role == "agent")],
        episodes=wording.listing([f"{n:,}" for n in sorted({r.episodes for r in records})]),
        seeds=wording.listing([str(n) for n in sorted({r.seed for r in records}, key=str)]),
        commands=wording.commands(records),
        commits=[f"{git}{' with changes' if dirty else ''}" for git, dirty in runs if git],
        versions=list(versions),
        channels=wording.channels(records),
        machines=list(dict.fromkeys(wording.machine(r.provenance.hardware) for r in records)),
        wall_time=wording.duration(sum(r.provenance.wall_time_s for r in records)),
        failed=[r for r in records if r.status == "failed"],
        notes=wording.notes(records),
        definitions=_definitions(records),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("wirelessgym.report", "."),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "arrow": arrow,
        "capitalise_first": wording.capitalised,
        "last_line": wording.last_line,
        "markdown_rows": _markdown,
    }
    return environment


def _write(path: Path | str, text: str) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
