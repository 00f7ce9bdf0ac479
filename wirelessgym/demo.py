"""The demo: the universal agent beside every classical baseline on the three tasks, as tables and as one report.

``python -m wirelessgym.demo [FOLDER]`` needs no network, no GPU and no LLVM, and takes about a minute on two cores. Without the
packages or the weights of the language model, the baselines are compared without it.
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
from wirelessgym.registry import agents_for, make_agent, make_task
from wirelessgym.report import write_csv, write_html, write_markdown

FOLDER = Path("runs/demo")
LEARNED = "universal"


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
    Part("precoding", "uma-nlos-32", "csi_snr_db=0:20:5", "robust_wmmse", 128, {"num_users": 8, "horizon": 1}),
    Part("detection", "uma-nlos-32", "snr_db=0:20:5", "oamp", 128, {"num_users": 8, "horizon": 1}),
    Part("channel_prediction", "uma-nlos-32", "speed_kmh=10,30,60,100", "ar_beamdelay", 64, {"snr_db": (5, 20), "horizon": 1}),
)


def run_demo(out: Path = FOLDER) -> int:
    """Compare the agents on the three tasks; write ``report.html``, ``report.md``, ``results.csv``, records.

    Args:
        out: folder for it all; the same one again goes on where an earlier run was cut off.

    Returns:
        Exit code: 0, or 1 if an agent failed.
    """
    started = time.monotonic()
    console = Console()
    records: list[Record] = []
    failed = 0
    learned = [] if (missing := _missing()) else [LEARNED]
    if missing:
        console.print(f"without the universal agent: {missing}", soft_wrap=True)
    for part in PARTS:
        agents = agents_for(part.task, unasked=True) + learned
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
    page = write_html(records, out / "report.html", title="One language model beside the classical baselines")
    write_markdown(records, out / "report.md")
    write_csv(records, out / "results.csv")
    console.print(
        f"\n{time.monotonic() - started:.0f} s. Open the report in a browser: {page.resolve().as_uri()}", soft_wrap=True
    )
    return failed


def _missing() -> str | None:
    """What keeps the universal agent from taking part, None if nothing does."""
    try:
        make_agent(LEARNED).weights(make_task(PARTS[0].task, PARTS[0].scenario))  # type: ignore[attr-defined]
    except (ImportError, OSError) as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(run_demo(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
