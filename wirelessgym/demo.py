"""The demo: the universal agent beside every classical baseline, on every task that has a showcase, as tables and as one report.

``python -m wirelessgym.demo [FOLDER]`` needs no network, no GPU and no LLVM, and takes about three minutes on two cores. Without
the language model's packages or weights, the baselines are compared among themselves.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console

from wirelessgym.evaluate import compare
from wirelessgym.record import Record
from wirelessgym.registry import agents_for, ids, make_agent, make_task, task_class
from wirelessgym.report import write_csv, write_html, write_markdown
from wirelessgym.task import Showcase

FOLDER = Path("runs/demo")
LEARNED = "universal"


def run_demo(out: Path = FOLDER) -> int:
    """Compare the agents on the showcases of all tasks; write ``report.html``, ``report.md``, ``results.csv``, records.

    Args:
        out: folder for it all; the same one again continues an interrupted run.

    Returns:
        Exit code: 0, or 1 if an agent failed.
    """
    started = time.monotonic()
    console = Console()
    records: list[Record] = []
    failed = 0
    shown = showcases()
    learned = [] if (missing := _missing(next(iter(shown)))) else [LEARNED]
    if missing:
        console.print(f"without the universal agent: {missing}", soft_wrap=True)
    for task, part in shown.items():
        agents = [*agents_for(task, unasked=True), *(name for name in learned if name in agents_for(task))]
        console.print(f"\n{task}: {len(agents)} agents, {part.scenario}, {part.sweep}, {part.episodes} episodes")
        table = compare(
            task,
            agents,
            part.scenario,
            part.episodes,
            sweep=part.sweep,
            reference=part.reference,
            out=out / task,
            **part.overrides,
        )
        records += table.records
        failed |= table.exit_code
    write_markdown(records, out / "report.md")
    write_csv(records, out / "results.csv")
    page = write_html(records, out / "report.html", "One language model beside the classical baselines", pictures=True)
    console.print(
        f"\n{time.monotonic() - started:.0f} s. Open the report in a browser: {page.resolve().as_uri()}", soft_wrap=True
    )
    return failed


def showcases() -> dict[str, Showcase]:
    """Return the showcase of each task that has one, by the task's id."""
    return {task: shown for task in ids("tasks") if (shown := task_class(task).showcase) is not None}


def _missing(task: str) -> str | None:
    """What keeps the universal agent from taking part, None if nothing does."""
    try:
        make_agent(LEARNED).weights(make_task(task))  # type: ignore[attr-defined]
    except (ImportError, OSError) as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(run_demo(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
