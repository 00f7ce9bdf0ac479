"""The channel layer against Sionna's own path: time, memory, and how our cost grows."""

from __future__ import annotations

from pathlib import Path

import torch

from wirelessgym.bench.measure import Row, in_turns, seconds, show
from wirelessgym.channel import Channel
from wirelessgym.channel.synthesis import synthesise
from wirelessgym.fields import take
from wirelessgym.parallel import one_thread
from wirelessgym.parallel.processes import Processes
from wirelessgym.registry import load_scenario, make_task
from wirelessgym.scenario import Scenario

BY_DEFAULT = True


def bench(fast: bool = False) -> list[Row]:
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
        show("Channel: Sionna's path against ours (UMa NLOS, 4 users, 128 antennas, 20 slots, 48 subcarriers)", rows)
        episodes = [_whole_reset(scenario, batch, repeats=2 if fast else 3), _precoding_reset(batch, repeats=3 if fast else 10)]
        show("Episodes from beginning to end", episodes)
        growth = _growth(scenario)
        show("How our cost grows (reference: the setting above, 8 episodes)", growth)
    return rows + episodes + growth


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


def _whole_reset(scenario: Scenario, batch: int, repeats: int) -> Row:
    """Rays, synthesis, noise and observation of episodes of channel prediction."""
    from wirelessgym.channel.sionna_reference import SionnaReference

    past, future, subcarriers = 16, 4, scenario.num_subcarriers
    task = make_task("channel_prediction", scenario, num_past=past, num_future=future)
    reference = SionnaReference(scenario, 1, batch)
    task.reset([0])  # warm up both
    reference.sionna_episodes(1, 1, 2, 0.1)
    theirs, ours = in_turns(
        lambda: reference.sionna_episodes(past, future, subcarriers, 0.1), lambda: task.reset(range(batch)), repeats
    )
    what = f"channel_prediction.reset, {batch} episodes of 1 user, against Sionna's path and noise"
    return Row(what, f"{theirs:.2f} s", f"{ours:.3f} s", theirs / ours, 12)


def _precoding_reset(batch: int, repeats: int) -> Row:
    """Episodes of precoding, against how it was before: a second synthesis for the normalisation, a drop left to Sionna."""
    from wirelessgym.channel.sionna_shortcuts import without_shortcuts

    settings = {"num_users": 8, "horizon": 1}
    task = make_task("precoding", "uma-nlos-32", **settings)
    before = make_task("precoding", "uma-nlos-32", **settings, normalisation="user-realised")

    def old_way() -> None:
        with without_shortcuts():
            before.reset(range(batch))

    task.reset([0])
    before.reset([0])
    theirs, ours = in_turns(old_way, lambda: task.reset(range(batch)), repeats)
    what = f"precoding.reset, {batch} episodes of 8 users, against drops by Sionna alone and realised power"
    return Row(what, f"{theirs * 1e3:.1f} ms", f"{ours * 1e3:.1f} ms", theirs / ours, 1.5)


def _peak_above_output_gb(ours: bool, batch: int) -> float:
    """Run in a fresh process: peak memory during synthesis above what was there before, less the output."""
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
    from wirelessgym.channel.sionna_shortcuts import without_shortcuts

    batch = 8
    reference = SionnaReference(scenario, 4, batch)

    def anew() -> None:
        with without_shortcuts():
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
