"""What a decision costs: latency for one link and for a batch, weights, memory, training, side by side in one run on one thread.

Every agent decides in a process of its own, so that none finds warm what another left behind.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from wirelessgym.agent import Agent
from wirelessgym.agent_names import named_agent
from wirelessgym.checkpoint import read_card
from wirelessgym.fields import Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.parallel import one_thread
from wirelessgym.parallel.processes import Processes
from wirelessgym.record import provenance
from wirelessgym.registry import load_scenario, make_task

SCENARIO = "uma-nlos-32"
BATCHES = (1, 64)
TARGETS_MS: Mapping[str, float] = {"universal": 10.0}  # agent to the median time that one link may take on an idle core
AGENTS: Mapping[str, tuple[str, ...]] = {
    "precoding": ("rzf", "wmmse", "robust_wmmse", "cnn_precoder:checkpoint=shipped", "universal"),
    "detection": (
        "lmmse",
        "oamp",
        "ep",
        "kbest",
        "list_mmse",
        "smc",
        "oampnet:checkpoint=shipped",
        "detnet:checkpoint=shipped",
        "universal",
    ),
    "channel_prediction": ("wiener", "pad", "ar_beamdelay", "rnn:checkpoint=shipped", "universal"),
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
        parameters: trainable ones that the task needs; other tasks' heads don't count.
        weights: all numbers in these weights, frozen ones included.
        memory_mb: by how much the process grew at most, from before the agent was made to its first decision for a batch, MB.
        training_s: wall time that the checkpoint was trained for; None without one.
        latency_ms: batch size to (p50, p95) of the wall time of one call, milliseconds.
        processor_ms: batch size to the median of the processor's time for one call, milliseconds: what other work on the machine
            adds is in the wall time alone.
        target_ms: what the first batch size's p50 should not exceed; None without a target.
    """

    task: str
    agent: str
    parameters: int
    weights: int
    memory_mb: float
    training_s: float | None
    latency_ms: dict[int, tuple[float, float]]
    processor_ms: dict[int, float]
    target_ms: float | None = None


def bench_decision(fast: bool = False, out: Path | None = None) -> list[Cost]:
    """Time decisions of classical agents and the universal agent, print a table and return its rows.

    Args:
        fast: fewer calls, for a first look.
        out: JSON file for the rows, with versions and hardware.

    Agents whose packages or weights aren't installed are left out, with a note.
    """
    begin = time.monotonic()
    calls = 8 if fast else 40
    wanted = [(task, name) for task, names in AGENTS.items() for name in names]
    costs = []
    for _, found in Processes(1, fresh=True).run(_cost_or_reason, wanted, (SCENARIO, calls)):
        if isinstance(found, Cost):
            costs.append(replace(found, target_ms=TARGETS_MS.get(found.agent)))
        else:
            Console(stderr=True).print(f"left out: {found}", soft_wrap=True)
    _print(costs)
    if out is not None:
        origin = provenance([load_scenario(SCENARIO).channel], round(time.monotonic() - begin, 1)).model_dump(mode="json")
        content = {"scenario": SCENARIO, "calls": calls, "costs": [asdict(cost) for cost in costs], "provenance": origin}
        out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return costs


def _cost_or_reason(wanted: tuple[str, str], settings: tuple[str, int]) -> Cost | str:
    """An agent's cost on a task, or why it can't be had."""
    (scenario, calls), (task, spec) = settings, wanted
    try:
        return _cost(scenario, task, spec, calls)
    except (ImportError, OSError) as error:
        return str(error)


def _cost(scenario: str, name: str, spec: str, calls: int) -> Cost:
    task = make_task(name, scenario, horizon=1, **OVERRIDES[name])
    settings = task.spec
    seen = {batch: task.reset(range(batch), seed=7)[1] for batch in BATCHES}
    with one_thread():
        with _growth() as grown:
            agent = named_agent(spec)
            for obs in seen.values():
                agent.act(settings, obs)
        times = {batch: _times_ms(lambda obs: agent.act(settings, obs), obs, calls) for batch, obs in seen.items()}
    module = agent.weights(settings) if isinstance(agent, LearnedAgent) else torch.nn.Module()
    parameters = list(module.parameters())
    return Cost(
        task=name,
        agent=agent.name,
        parameters=sum(weight.numel() for weight in parameters if weight.requires_grad),
        weights=sum(tensor.numel() for tensor in (*parameters, *module.buffers())),
        memory_mb=round(grown(), 1),
        training_s=_training_s(agent),
        latency_ms={batch: (_percentile(wall, 50), _percentile(wall, 95)) for batch, (wall, _) in times.items()},
        processor_ms={batch: _percentile(processor, 50) for batch, (_, processor) in times.items()},
    )


@contextmanager
def _growth() -> Iterator[Callable[[], float]]:
    """Watch this process's memory, 500 times a second: gives a function that says by how many megabytes it has grown at most."""
    process, done = psutil.Process(), threading.Event()
    begun = most = process.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not done.wait(0.002):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: (most - begun) / 1e6
    finally:
        done.set()
        watcher.join()


def _training_s(agent: Agent) -> float | None:
    if not isinstance(agent, LearnedAgent) or agent.checkpoint is None:
        return None
    seconds: float | None = read_card(agent.checkpoint_folder()).get("training", {}).get("wall_time_s")
    return seconds


def _times_ms(act: Callable[[Obs], object], obs: Obs, calls: int) -> tuple[list[float], list[float]]:
    """Wall time and processor time of each call."""
    wall, processor = [], []
    for _ in range(calls + 1):
        begin, begin_processor = time.perf_counter(), time.process_time()
        act(obs)
        processor.append(1e3 * (time.process_time() - begin_processor))
        wall.append(1e3 * (time.perf_counter() - begin))
    return wall[1:], processor[1:]  # the first call warms up


def _percentile(values: Sequence[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 3)


def _print(costs: Sequence[Cost]) -> None:
    console = Console()
    console.print(f"One decision, {SCENARIO}, one thread: weights in millions, memory in MB, training in minutes, latency in ms.")
    for task in dict.fromkeys(cost.task for cost in costs):
        table = Table(title=task, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("agent", no_wrap=True)
        for column in (
            "weights",
            "trainable",
            "memory",
            "training",
            *(f"batch {batch}: p50 (p95)" for batch in BATCHES),
            "target",
        ):
            table.add_column(column, justify="right", no_wrap=":" not in column)
        for cost in (cost for cost in costs if cost.task == task):
            training = "–" if cost.training_s is None else f"{cost.training_s / 60:.1f}"
            cells = [f"{cost.weights / 1e6:.3g}", f"{cost.parameters / 1e6:.3g}", f"{cost.memory_mb:.0f}", training]
            cells += [f"{_ms(p50)} ({_ms(p95)})" for p50, p95 in cost.latency_ms.values()]
            cells.append(_target(cost))
            table.add_row(cost.agent, *cells)
        console.print(table)


def _target(cost: Cost) -> str:
    """The target for one link, and whether it is met."""
    if cost.target_ms is None:
        return "–"
    p50, _ = next(iter(cost.latency_ms.values()))
    return f"{_ms(cost.target_ms)} {'met' if p50 <= cost.target_ms else 'missed'}"


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"
