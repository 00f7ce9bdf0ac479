"""What a decision costs: latency for one link and for a batch, weights and memory, beside each other in one run on one thread."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from wirelessgym.agent import Agent
from wirelessgym.evaluate.roster import named_agent
from wirelessgym.evaluate.runner import one_thread
from wirelessgym.evaluate.settings import settings_of
from wirelessgym.fields import Obs
from wirelessgym.record import provenance
from wirelessgym.registry import load_scenario, make_task

SCENARIO = "uma-nlos-32"
BATCHES = (1, 64)
AGENTS: Mapping[str, tuple[str, ...]] = {
    "precoding": ("rzf", "wmmse", "robust_wmmse", "universal"),
    "detection": ("lmmse", "oamp", "ep", "kbest", "universal"),
    "channel_prediction": ("wiener", "ar_beamdelay", "universal"),
}
OVERRIDES: Mapping[str, dict[str, Any]] = {
    "precoding": {"num_users": 8, "csi_snr_db": 10},
    "detection": {"num_users": 8, "snr_db": 10},
    "channel_prediction": {"snr_db": 10},
}


@dataclass(frozen=True)
class Cost:
    """Cost of one agent's decisions on one task.

    Attributes:
        task: task id.
        agent: agent's name.
        parameters: trainable ones.
        weights_mb: all weights in memory, frozen ones included, megabytes.
        latency_ms: batch size to (p50, p95) of the wall time of one call, milliseconds.
    """

    task: str
    agent: str
    parameters: int
    weights_mb: float
    latency_ms: dict[int, tuple[float, float]]


def bench_decision(fast: bool = False, out: Path | None = None) -> list[Cost]:
    """Time decisions of classical agents and the universal agent, print a table and return its rows.

    Args:
        fast: fewer calls, for a first look.
        out: JSON file for the rows, with versions and hardware.
    """
    begin = time.monotonic()
    calls = 8 if fast else 40
    with one_thread():
        costs = [_cost(task, name, calls) for task, names in AGENTS.items() for name in names]
    _print(costs)
    if out is not None:
        tables = load_scenario(SCENARIO).spec_version
        origin = provenance(tables, round(time.monotonic() - begin, 1)).model_dump(mode="json")
        content = {"scenario": SCENARIO, "calls": calls, "costs": [asdict(cost) for cost in costs], "provenance": origin}
        out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return costs


def _cost(name: str, spec: str, calls: int) -> Cost:
    task = make_task(name, SCENARIO, horizon=1, **OVERRIDES[name])
    agent = named_agent(spec)
    parameters = agent.num_parameters  # as the card says, heads of other tasks included
    settings: Any = settings_of(task)
    latency = {}
    for batch in BATCHES:
        _, obs = task.reset(range(batch), seed=7)
        latency[batch] = _percentiles(lambda seen: agent.act(settings, seen), obs, calls)
    return Cost(name, agent.name, parameters or agent.num_parameters, round(_weights_bytes(agent, settings) / 1e6, 1), latency)


def _percentiles(act: Callable[[Obs], object], obs: Obs, calls: int) -> tuple[float, float]:
    taken = []
    for _ in range(calls + 1):
        begin = time.perf_counter()
        act(obs)
        taken.append(1e3 * (time.perf_counter() - begin))
    p50, p95 = np.percentile(taken[1:], (50, 95))  # the first call loads and builds
    return round(float(p50), 3), round(float(p95), 3)


def _weights_bytes(agent: Agent, task: Any) -> int:
    weights = getattr(agent, "weights", None)
    if weights is None:
        return 0
    module = weights(task)
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


def _print(costs: Sequence[Cost]) -> None:
    table = Table(title=f"One decision, {SCENARIO}, one thread: p50 (p95), ms", title_justify="left")
    for column in ("task", "agent", "trainable", "weights MB", *(f"batch {batch}" for batch in BATCHES)):
        table.add_column(column, justify="left" if column in ("task", "agent") else "right")
    for cost in costs:
        cells = [f"{p50:.3g} ({p95:.3g})" for p50, p95 in cost.latency_ms.values()]
        table.add_row(cost.task, cost.agent, f"{cost.parameters:,}", f"{cost.weights_mb:g}", *cells)
    Console().print(table)
