"""Reports: records as one self-contained HTML page, as Markdown, and as CSV.

No mean is shown without its interval and the number of episodes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wirelessgym import __version__
from wirelessgym.io import write_text_atomically
from wirelessgym.metrics import Metric
from wirelessgym.record import Record
from wirelessgym.registry import UnknownIdError, task_class
from wirelessgym.report import text as words
from wirelessgym.report.figures import Figure
from wirelessgym.report.labels import capitalised, field_name, metric_name
from wirelessgym.report.markdown import code_block, literal
from wirelessgym.report.pictures import Picture
from wirelessgym.report.pictures import pictures as pictures_of
from wirelessgym.report.point_figure import point_figure
from wirelessgym.report.sweep_figure import sweep_figure
from wirelessgym.report.tables import Cell, Section, Table, arrow, point_table, sections, shortened, sweep_table
from wirelessgym.report.verdict import verdict

CSV_COLUMNS = (
    "task", "scenario", "sweep_axis", "sweep_value", "agent", "role", "status", "seed", "episodes", "metric", "unit",
    "higher_is_better", "mean", "ci95_low", "ci95_high", "bound", "gap_to_bound", "reference", "difference",
    "difference_low", "difference_high", "p_value", "p_value_corrected", "latency_p50_s", "latency_p95_s", "parameters",
    "training", "best_other", "lead", "lead_low", "lead_high", "lead_p_value_corrected",
)  # fmt: skip


@dataclass(frozen=True)
class _View:
    """A section as the templates see it."""

    section: Section
    heading: str
    setting: str
    verdict: str
    sentence: str
    metric: str
    unit: str
    caption: str
    anchor: str
    figure: Figure | None
    figure_title: str
    figure_caption: str
    pictures: list[Picture]
    pictures_caption: str
    overview: Table | None
    points: list[tuple[str, Table]]


def write_html(records: Sequence[Record], path: Path | str, title: str | None = None, pictures: bool = False) -> Path:
    """Write one HTML page that needs nothing else: styles, script and figures stand inside it.

    Args:
        records: of one or several comparisons.
        path: of the page. Data that lie beside it (``results.csv``, ``records/``) are linked.
        title: heading; by default tasks and scenarios.
        pictures: whether to let the best agents play an episode and draw it, which takes some seconds.

    Raises:
        ValueError: without records.
    """
    views = _views(records, figures=True, pictures=pictures)
    return write_text_atomically(path, _render("report.html.j2", records, title, views, _data_beside(Path(path), records)))


def write_markdown(records: Sequence[Record], path: Path | str, title: str | None = None) -> Path:
    """Write the tables, what was run and the notes as Markdown.

    Raises:
        ValueError: without records.
    """
    return write_text_atomically(path, _render("report.md.j2", records, title, _views(records), []))


def write_csv(records: Sequence[Record], path: Path | str) -> Path:
    """Write one line for each record and metric; paired differences stand in the headline metric's line.

    ``difference`` is that to the reference, ``lead`` that to the best of the others.

    Text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, CSV_COLUMNS)
    writer.writeheader()
    for record in records:
        writer.writerows({key: _no_formula(value) for key, value in line.items()} for line in _csv_lines(record))
    return write_text_atomically(path, text.getvalue())


def _no_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _csv_lines(record: Record) -> list[dict[str, object]]:
    common: dict[str, object] = {
        "sweep_axis": record.sweep.axis if record.sweep else None,
        "sweep_value": record.sweep.value if record.sweep else None,
        "latency_p50_s": record.latency_s.p50 if record.latency_s else None,
        "latency_p95_s": record.latency_s.p95 if record.latency_s else None,
    }
    for name in ("task", "scenario", "agent", "role", "status", "seed", "episodes", "parameters", "training"):
        common[name] = getattr(record, name)
    headline: dict[str, object] = {
        "bound": record.bound,
        "gap_to_bound": record.gap_to_bound.mean if record.gap_to_bound else None,
    }
    if record.paired:
        low, high = record.paired.ci95
        headline |= {"difference_low": low, "difference_high": high}
        headline |= {key: record.paired[key] for key in ("reference", "difference", "p_value", "p_value_corrected")}
    if record.standing:
        low, high = record.standing.ci95
        headline |= {"best_other": record.standing.other, "lead": record.standing.difference, "lead_low": low, "lead_high": high}
        headline["lead_p_value_corrected"] = record.standing.p_value_corrected
    lines = []
    for name, value in record.metrics.items():
        ends = value.ci95 or (None, None)
        line = {"metric": name, "mean": value.mean, "ci95_low": ends[0], "ci95_high": ends[1]}
        line |= {"unit": value.unit, "higher_is_better": value.higher_is_better}
        lines.append({**common, **line, **(headline if name == record.headline else {})})
    return lines or [{**common, "metric": record.headline, **headline}]


def markdown_table(records: Sequence[Record], agents: Sequence[str] = (), rows: int | None = None) -> str:
    """The headline tables alone, one for each task, scenario and sweep, each with its episodes and seed under it.

    Args:
        records: of one or several comparisons.
        agents: whose rows to show; by default everybody's. Floor, genies and bound stay; bold figures are the best of all agents,
            shown or not.
        rows: most rows, floor, genies and bound among them; the best agents stay.

    Raises:
        ValueError: without records, or for an agent or a number of rows that isn't possible.
    """
    return "\n\n".join(
        f"{_markdown(shortened(view.overview or view.points[0][1], agents, rows))}\n\n{view.heading}: {view.caption}"
        for view in _views(records)
    )


def markdown_verdict(records: Sequence[Record]) -> str:
    """The verdicts alone, a paragraph for each task, scenario and sweep, named where there are several.

    Raises:
        ValueError: without records, or where they hold no verdict.
    """
    views = _views(records)
    if silent := [view.heading for view in views if not view.verdict]:
        raise ValueError(f"{silent[0]}: no verdict: records of one agent, of several comparisons, or from before it was kept")
    named = len(views) > 1
    return "\n\n".join((f"**{literal(view.heading)}.** " if named else "") + str(literal(view.verdict)) for view in views)


def _markdown(table: Table) -> Markup:
    heads = [
        " ".join(p for p in (c.title, c.direction, f"({c.unit})" if c.unit and c.numeric else c.unit) if p) for c in table.columns
    ]
    lines = [[literal(head) for head in heads], ["---:" if column.numeric else ":---" for column in table.columns]]
    for row in table.rows:
        line = [_markdown_cell(cell) for cell in row.cells]
        line[0] = f"_{line[0]}_" if row.role != "agent" else line[0]
        lines.append(line)
    return Markup("\n".join("| " + " | ".join(line) + " |" for line in lines))


def _markdown_cell(cell: Cell) -> str:
    text = literal(cell.text)
    return (f"**{text}**" if cell.best else text) + (f" {literal(cell.interval)}" if cell.interval else "")


def _views(records: Sequence[Record], figures: bool = False, pictures: bool = False) -> list[_View]:
    if not records:
        raise ValueError("a report needs at least one record, got none")
    return [_view(f"table-{number}", section, figures, pictures) for number, section in enumerate(sections(records), 1)]


def _view(anchor: str, section: Section, figures: bool, pictures: bool) -> _View:
    swept = section.axis is not None
    names = [f"{field_name(section.axis or '')} {words.at(section.axis, value)}" if swept else "" for value, _ in section.points]
    draw = sweep_figure if swept else point_figure
    at, drawn = pictures_of(section) if pictures else ("", [])
    return _View(
        section=section,
        heading=words.heading(section),
        setting=words.setting(section),
        verdict=verdict(section),
        sentence=words.result(section),
        metric=capitalised(metric_name(section.first.headline)),
        unit=words.unit_of(section.first).removeprefix(" in "),
        caption=words.caption(section),
        anchor=anchor,
        figure=draw(section) if figures else None,
        figure_title=words.figure_title(section),
        figure_caption=words.figure_caption(section),
        pictures=drawn,
        pictures_caption=words.pictures_caption(section, at),
        overview=sweep_table(section) if swept else None,
        points=list(zip(names, (point_table(records) for _, records in section.points), strict=True)),
    )


def _data_beside(path: Path, records: Sequence[Record]) -> list[str]:
    """Files and folders beside a page that hold the data behind it, as addresses."""
    beside = [name for name in ("results.csv", "report.md") if (path.parent / name).is_file()]
    names = {record.filename for record in records}
    folders = [path.parent / "records", *sorted(path.parent.glob("*/records"))]
    found = [folder for folder in folders if any((folder / name).is_file() for name in names)]
    return beside + [f"{quote(folder.relative_to(path.parent).as_posix())}/" for folder in found]


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


def _render(template: str, records: Sequence[Record], title: str | None, views: Sequence[_View], links: Sequence[str]) -> str:
    runs = list(dict.fromkeys((r.provenance.git, r.provenance.dirty) for r in records))
    versions = {f"{name} {found}": None for r in records for name, found in r.provenance.versions.items()}
    return _templates(template.endswith(".md.j2")).get_template(template).render(
        title=title or words.title(records),
        version=__version__,
        views=views,
        agents=[name for name in dict.fromkeys(r.agent for r in records if r.role == "agent")],
        episodes=words.listing([f"{n:,}" for n in sorted({r.episodes for r in records})]),
        seeds=words.listing([str(n) for n in sorted({r.seed for r in records}, key=str)]),
        commands=words.commands(records),
        commits=[f"{git}{' with changes' if dirty else ''}" for git, dirty in runs if git],
        versions=list(versions),
        channels=words.channels(records),
        machines=list(dict.fromkeys(words.machine(r.provenance.hardware) for r in records)),
        wall_time=words.duration(sum(r.provenance.wall_time_s for r in records)),
        failed=[r for r in records if r.status == "failed"],
        notes=words.notes(records),
        definitions=_definitions(records),
        links=links,
    )  # fmt: skip


@lru_cache(maxsize=2)
def _templates(markdown: bool) -> Environment:
    """Templates whose every value is escaped, unless it's markup already: as HTML or as Markdown."""
    environment = Environment(
        loader=PackageLoader("wirelessgym.report", "."),
        autoescape=not markdown,
        finalize=literal if markdown else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "arrow": arrow,
        "capitalise_first": capitalised,
        "code_block": code_block,
        "last_line": words.last_line,
        "markdown_rows": _markdown,
    }
    return environment
