"""Speed, measured as ratios of two things in one run on one thread: `wirelessgym bench`.

CPU time of this process is counted, best of a few runs, because wall time on a shared machine measures the neighbours too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from wirelessgym.channel import Channel
from wirelessgym.channel.synthesis import synthesise
from wirelessgym.fields import take
from wirelessgym.models import NEEDED
from wirelessgym.parallel import one_thread
from wirelessgym.parallel.processes import Processes
from wirelessgym.registry import agent_module, load_scenario, make_task
from wirelessgym.scenario import Scenario


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


def bench_channel(fast: bool = False) -> list[Row]:
    """Compare rays-to-``H`` with Sionna's path, print two tables and return their rows.

    Args:
        fast: a quarter of the batch and one repetition, for a first look; its numbers are not the ones to quote.
    """
    with one_thread():
        scenario = load_scenario("uma-nlos-128")
        batch = 16 if fast else 64
        rows = [
            _synthesis(scenario, batch, repeats=1 if fast else 3, target=40),
            _synthesis(scenario, 1, repeats=5, target=8),
            *([_memory(batch)] if Path("/proc/self/clear_refs").exists() else []),
            _lazy_step(scenario),
        ]
        print_rows("Channel: Sionna's path against ours (UMa NLOS, 4 users, 128 antennas, 20 slots, 48 subcarriers)", rows)
        growth = _growth(scenario)
        print_rows("How our cost grows (reference: the setting above, 8 episodes)", growth)
    return rows + growth


def bench_env(fast: bool = False) -> list[Row]:
    """Compare the Gymnasium view with the task that it wraps, print a table and return its rows."""
    with one_thread():
        rows = [_view_overhead(name, steps=20 if fast else 100) for name in ("precoding", "detection")]
        rows.append(_reset_cost())
        print_rows("Gymnasium: VectorEnv over the bare task (64 environments)", rows)
    return rows


def bench_instruction(fast: bool = False) -> list[Row]:
    """Compare a language model that reads the instruction once for all sequences with one that reads it in front of each.

    Args:
        fast: a quarter of the batch and fewer repetitions, for a first look; its numbers are not the ones to quote.

    Raises:
        ImportError: without the packages of ``wirelessgym[llm]``.
    """
    batch, layers = (16 if fast else 64), 6
    with one_thread():
        models = agent_module("universal.models")
        installed = any(model.name == "smollm2-135m" and model.installed for model in models.catalogue())
        name = "smollm2-135m" if installed else "random"
        try:
            backbone = agent_module("universal.backbone").Backbone(name, layers=layers)
        except ImportError as error:
            raise ImportError(f"{NEEDED} ({error})") from None
        rows = [
            _instruction(backbone, task, tokens, batch, repeats=1 if fast else 3)
            for task, tokens in (("precoding", 8), ("precoding", 4), ("detection", 8), ("detection", 4))
        ]
        weights = name if installed else "random weights (smollm2-135m is not installed)"
        print_rows(
            f"Instruction: in front of each sequence against read once, forward and backward ({weights}, {layers} layers)", rows
        )
    return rows


def _instruction(backbone: Any, name: str, tokens: int, batch: int, repeats: int) -> Row:
    """Time both ways of reading a task's instruction with ``tokens`` data tokens behind it."""
    words = agent_module("universal.instruction").instruction(make_task(name))
    data = torch.randn(batch, tokens, backbone.width, generator=torch.Generator().manual_seed(0))

    def forward_and_backward() -> None:
        backbone.zero_grad()
        backbone(words, data.clone().requires_grad_()).square().mean().backward()

    forward_and_backward()  # warm up
    ours, theirs = float("inf"), float("inf")
    for _ in range(repeats):  # taken in turns, so that both meet the same machine
        ours = min(ours, seconds(forward_and_backward, 1))
        backbone.shared = False
        theirs = min(theirs, seconds(forward_and_backward, 1))
        backbone.shared = True
    what = f"{name}: {backbone.prompt_length(words)} tokens of instruction, {tokens} of data, batch {batch}"
    return Row(what, f"{theirs:.2f} s", f"{ours:.3f} s", theirs / ours, 6 if batch == 64 else None)


def _synthesis(scenario: Scenario, batch: int, repeats: int, target: float) -> Row:
    from wirelessgym.channel.sionna_reference import SionnaReference

    reference = SionnaReference(scenario, 4, batch)
    reference.draw_rays()
    grid = Channel(scenario, 4, 48).grid
    start = torch.zeros(batch, dtype=torch.int64)
    reference.sionna_response(1, 2)  # warm up both
    synthesise(reference.our_rays(), grid, start, 20)
    ours = seconds(lambda: synthesise(reference.our_rays(), grid, start, 20), max(repeats, 3))
    theirs = seconds(lambda: reference.sionna_response(20, 48), 1 if batch > 8 else repeats)
    return Row(f"rays to H, {batch} episodes", f"{theirs:.3f} s", f"{ours:.4f} s", theirs / ours, target)


def _peak_above_output_gb(ours: bool, batch: int) -> float:
    """To be called in a fresh process: peak memory during synthesis above what was there before, less the output."""
    from wirelessgym.channel.sionna_reference import SionnaReference

    torch.set_num_threads(1)
    scenario = load_scenario("uma-nlos-128")
    reference = SionnaReference(scenario, 4, batch)
    reference.draw_rays()
    rays, grid = reference.our_rays(), Channel(scenario, 4, 48).grid
    synthesise(take(rays, slice(0, 1)), grid, torch.zeros(1, dtype=torch.int64), 20)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before_gb = _memory_gb("VmRSS")
    h = synthesise(rays, grid, torch.zeros(batch, dtype=torch.int64), 20) if ours else reference.sionna_response(20, 48)
    return max(_memory_gb("VmHWM") - before_gb - h.numel() * h.element_size() / 1e9, 0.0)


def _memory_gb(entry: str) -> float:
    """An entry of Linux's process status: ``VmRSS`` is the memory of now, ``VmHWM`` its peak."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(entry))
    return int(line.split()[1]) * 1024 / 1e9


def _memory(batch: int) -> Row:
    peaks = Processes(1, fresh=True).run(_peak_above_output_gb, (False, True), batch)
    theirs, ours = (peak for _, peak in peaks)
    what = f"memory above the output [GB], {batch} episodes"
    return Row(what, f"{theirs:.2f} GB", f"{ours:.3f} GB", ours, 0.1, at_most=True)


def _lazy_step(scenario: Scenario) -> Row:
    from wirelessgym.channel.sionna_reference import SionnaReference

    batch = 8
    reference = SionnaReference(scenario, 4, batch)

    def anew() -> None:
        reference.draw_rays()
        reference.sionna_response(1, 48)

    theirs = seconds(anew, 3)
    rays, grid = reference.our_rays(), Channel(scenario, 4, 48).grid
    start_s = torch.arange(batch) * scenario.slot_duration_s
    ours = seconds(lambda: synthesise(rays, grid, start_s, 1), 30)
    return Row(
        "next slot of 8 episodes against drawing anew", f"{theirs * 1e3:.1f} ms", f"{ours * 1e3:.2f} ms", theirs / ours, 150
    )


def _growth(scenario: Scenario) -> list[Row]:
    def cost(users: int = 4, panel: tuple[int, int] = (8, 16), slots: int = 20, subcarriers: int = 48) -> float:
        setting = scenario.with_overrides({"panel": {"rows": panel[0], "columns": panel[1]}, "num_users": users})
        channel = Channel(setting, users, subcarriers)
        episodes = torch.arange(8)
        drop = channel.sample(torch.zeros_like(episodes), episodes)
        return seconds(lambda: channel.response(drop, torch.zeros_like(episodes), slots), 5)

    base = cost()
    variants = {
        "8 users instead of 4": cost(users=8),
        "64 antennas instead of 128": cost(panel=(8, 8)),
        "256 antennas instead of 128": cost(panel=(16, 16)),
        "1 slot instead of 20": cost(slots=1),
        "40 slots instead of 20": cost(slots=40),
        "12 subcarriers instead of 48": cost(subcarriers=12),
        "96 subcarriers instead of 48": cost(subcarriers=96),
    }
    return [Row(what, f"{base * 1e3:.1f} ms", f"{value * 1e3:.1f} ms", value / base) for what, value in variants.items()]


def _view_overhead(name: str, steps: int) -> Row:
    import gymnasium

    import wirelessgym

    wirelessgym.register_envs()
    num_envs = 64
    identifier = f"wirelessgym/{name.capitalize()}-v0"
    envs = gymnasium.make_vec(identifier, num_envs=num_envs, scenario="uma-nlos-64", horizon=steps + 1)
    envs.reset(seed=0)
    task = make_task(name, scenario="uma-nlos-64", horizon=steps + 1)
    state, _ = task.reset(range(num_envs), seed=0)
    actions = envs.action_space.sample()
    tensor = torch.view_as_complex(torch.from_numpy(np.ascontiguousarray(actions)))
    bare, viewed = float("inf"), float("inf")
    for _ in range(steps):  # taken in turns, so that both meet the same machine
        start = time.process_time()
        with torch.no_grad():
            state, _ = task.step(state, tensor)
        middle = time.process_time()
        envs.step(actions)
        bare, viewed = min(bare, middle - start), min(viewed, time.process_time() - middle)
    envs.close()
    return Row(
        f"{name}: VectorEnv.step / task.step", f"{bare * 1e3:.2f} ms", f"{viewed * 1e3:.2f} ms", viewed / bare, 1.1, at_most=True
    )


def _reset_cost() -> Row:
    task = make_task("precoding", scenario="uma-nlos-64")
    task.reset([0], seed=0)
    alone = seconds(lambda: task.reset([1], seed=0), 5)
    together = seconds(lambda: task.reset(range(32), seed=0), 3) / 32
    return Row("one reset alone / drawn ahead in 32", f"{alone * 1e3:.2f} ms", f"{together * 1e3:.2f} ms", alone / together)


def print_rows(title: str, rows: list[Row]) -> None:
    """Print measured ratios as a table."""
    table = Table(title=title, title_justify="left")
    for heading in ("measured", "reference", "ours", "ratio", "target"):
        table.add_column(heading, justify="left" if heading == "measured" else "right")
    for row in rows:
        sign = "at most" if row.at_most else "at least"
        verdict = "" if row.target is None else f"{sign} {row.target:g}: {'met' if row.met else 'NOT met'}"
        table.add_row(row.what, row.reference, row.ours, f"{row.ratio:.3g}", verdict)
    Console().print(table)
