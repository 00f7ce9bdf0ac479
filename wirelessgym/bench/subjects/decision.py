"""Latency and memory of the universal agent's decisions beside those of classical agents."""

from __future__ import annotations

from pathlib import Path

from wirelessgym.cost import Cost, bench_decision


def bench(fast: bool = False, out: Path | None = None) -> list[Cost]:
    """Time decisions; see `wirelessgym.cost.bench_decision`."""
    return bench_decision(fast, out)
