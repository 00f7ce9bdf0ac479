"""Measuring: ratios of two things in one run on one thread, as rows of a table.

CPU time of this process is counted, best of a few runs, because wall time on a shared machine measures the neighbours too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One measured ratio.

    Attributes:
        what: what was compared.
        reference: value of the slower or larger thing, with its unit.
        ours: value of ours, with its unit.
        ratio: reference over ours (or ours over reference where less is wanted: then ``at_most`` is set).
        target: what it should be at least, or at most.
        at_most: whether the target is an upper limit.
    """

    what: str
    reference: str
    ours: str
    ratio: float
    target: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Least CPU time of ``repeats`` runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def in_turns(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Least CPU time of each of two kinds of work, done in turns so that both meet the same machine."""
    best = [float("inf"), float("inf")]
    for _ in range(repeats):
        best = [min(least, seconds(work, 1)) for least, work in zip(best, (first, second), strict=True)]
    return best[0], best[1]


def show(title: str, rows: list[Row]) -> None:
    """Print rows as a table."""
    table = Table(title=title, title_justify="left")
    for heading in ("measured", "reference", "ours", "ratio", "target"):
        table.add_column(heading, justify="left" if heading == "measured" else "right")
    for row in rows:
        sign = "at most" if row.at_most else "at least"
        verdict = "" if row.target is None else f"{sign} {row.target:g}: {'met' if row.met else 'NOT met'}"
        table.add_row(row.what, row.reference, row.ours, f"{row.ratio:.3g}", verdict)
    Console().print(table)
