"""Comparisons through each executor, and with agents in processes of their own, against comparisons in one process.

Wall time is counted, since other processes' CPU time isn't ours; the start of workers counts too.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from wirelessgym.bench.measure import Row, show
from wirelessgym.evaluate import compare
from wirelessgym.parallel import Executor, Here, make_executor
from wirelessgym.parallel.processes import cores


def bench(fast: bool = False) -> list[Row]:
    """Time a comparison through each executor that is installed, print a table and return its rows.

    Args:
        fast: a quarter of the episodes, for a first look; its numbers are not the ones to quote.
    """
    episodes = 512 if fast else 2048
    here = _seconds(episodes, ["zf", "rzf"], Here())
    names = ["processes", *(["ray"] if find_spec("ray") else [])]
    rows = []
    for name in names:
        with make_executor(name) as executor:
            begin = time.perf_counter()
            _seconds(128, ["zf", "rzf"], executor)
            start = time.perf_counter() - begin
            there = _seconds(episodes, ["zf", "rzf"], executor)
        what = f"compare, {episodes} episodes: {name} on {cores()} cores (start {start:.1f} s)"
        rows.append(Row(what, f"{here:.1f} s", f"{there:.1f} s", here / there))

    def matched(obs: dict[str, Tensor]) -> Tensor:  # what mrt does; defined here, it travels without this module
        directions = obs["csi"] / obs["csi"].norm(dim=-1, keepdim=True)
        return directions * (obs["tx_power"] / directions.shape[1]).sqrt()[:, None, None]

    inside = _seconds(episodes, ["mrt"], Here())
    outside = _seconds(episodes, [matched], Here())
    what = f"compare, {episodes} episodes: an agent in its own process / in this one"
    rows.append(Row(what, f"{inside:.1f} s", f"{outside:.1f} s", outside / inside))
    show("Comparisons: one process against each executor, wall time (precoding, 8 users, 32 antennas, one step)", rows)
    return rows


def _seconds(episodes: int, agents: list[Any], executor: Executor) -> float:
    begin = time.perf_counter()
    settings: dict[str, Any] = {"progress": False, "show": False, "num_users": 8, "horizon": 1}
    compare("precoding", agents, "rayleigh-32", episodes, 7, executor=executor, **settings)
    return time.perf_counter() - begin
