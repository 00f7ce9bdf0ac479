"""The demo: every baseline on the three tasks, printed as tables and written as one report.

``python -m wirelessgym.demo [FOLDER]`` needs no network, no GPU and no LLVM, and takes about a minute on two cores.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from wirelessgym.evaluate import compare
from wirelessgym.record import Record
from wirelessgym.registry import agents_for
from wirelessgym.report import write_csv, write_html, write_markdown

FOLDER = Path("runs/demo")
NOT_CLASSICAL = ("universal",)


@dataclass(frozen=True)
class Part:
    """One comparison of the demo; small enough for a laptop, large enough that the agents differ."""

    task: str
    scenario: str
    sweep: str
    reference: str
    episodes: int
    overrides: dict[str, Any] = field(default_factory=dict)


PARTS = (
    Part("precoding", "uma-hard-16", "snr_db=0:20:5", "rzf", 128, {"horizon": 2}),
    # QPSK keeps maximum likelihood affordable: 4^6 hypotheses for six users.
    Part("detection", "uma-nlos-16", "snr_db=-6:6:3", "lmmse", 256, {"num_users": 6, "modulation": "qpsk", "horizon": 1}),
    Part("channel_prediction", "uma-nlos-32", "speed_kmh=10,30,60,100", "hold", 64, {"num_subcarriers": 24, "horizon": 2}),
)


def run_demo(out: Path = FOLDER) -> int:
    """Compare all baselines on the three tasks; write ``report.html``, ``report.md``, ``results.csv`` and the records.

    Args:
        out: folder for it all; the same one again goes on where an earlier run was cut off.

    Returns:
        Exit code: 0, or 1 if an agent failed.
    """
    started = time.monotonic()
    console = Console()
    records: list[Record] = []
    failed = 0
    for part in PARTS:
        agents = [name for name in agents_for(part.task) if name not in NOT_CLASSICAL]
        console.print(f"\n{part.task}: {len(agents)} agents, {part.scenario}, {part.sweep}, {part.episodes} episodes")
        table = compare(
            part.task,
            agents,
            part.scenario,
            part.episodes,
            sweep=part.sweep,
            reference=part.reference,
            out=out / part.task,
            **part.overrides,
        )
        records += table.records
        failed |= table.exit_code
    page = write_html(records, out / "report.html", title="Classical baselines on three wireless tasks")
    write_markdown(records, out / "report.md")
    write_csv(records, out / "results.csv")
    console.print(
        f"\n{time.monotonic() - started:.0f} s. Open the report in a browser: {page.resolve().as_uri()}", soft_wrap=True
    )
    return failed


if __name__ == "__main__":
    sys.exit(run_demo(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
