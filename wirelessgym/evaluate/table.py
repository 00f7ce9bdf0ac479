"""The table of a comparison."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderResult

from wirelessgym.evaluate.printed import printed
from wirelessgym.record import Record
from wirelessgym.report.tables import sections
from wirelessgym.report.verdict import verdict

PIPED_WIDTH = 120  # rich takes 80 columns for what is no terminal


@dataclass(frozen=True)
class Table:
    """The result of a comparison; prints itself.

    Attributes:
        records: one for each agent at each point, then that point's floor and bound.
        failed: names of the agents that failed, also at points that aren't complete.
    """

    records: list[Record]
    failed: frozenset[str] = frozenset()

    @property
    def exit_code(self) -> int:
        """1 if an agent failed, else 0."""
        return int(bool(self.failed) or any(record.status == "failed" for record in self.records))

    @property
    def verdicts(self) -> list[str]:
        """Who leads the best of the others, in words, for each task, scenario and sweep; empty for one without a verdict."""
        return [verdict(section) for section in sections(self.records)]

    def to_html(self, path: Path | str) -> Path:
        """Write one self-contained page."""
        from wirelessgym.report import write_html

        return write_html(self.records, path)

    def to_markdown(self, path: Path | str) -> Path:
        """Write the tables as Markdown."""
        from wirelessgym.report import write_markdown

        return write_markdown(self.records, path)

    def to_csv(self, path: Path | str) -> Path:
        """Write one line for each record and metric."""
        from wirelessgym.report import write_csv

        return write_csv(self.records, path)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from printed(self.records)

    def __str__(self) -> str:
        """The tables as plain text."""
        file = io.StringIO()
        Console(file=file, width=PIPED_WIDTH, color_system=None).print(self)
        return file.getvalue()
