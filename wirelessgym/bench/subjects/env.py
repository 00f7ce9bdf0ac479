"""The environments against the tasks that they wrap."""

from __future__ import annotations

import gymnasium
import numpy as np
import torch

import wirelessgym
from wirelessgym.bench.measure import Row, in_turns, seconds, show
from wirelessgym.parallel import one_thread
from wirelessgym.registry import make_task

BY_DEFAULT = True


def bench(fast: bool = False) -> list[Row]:
    """Compare the Gymnasium view with the task that it wraps, print a table and return its rows."""
    with one_thread():
        rows = [_view_overhead(name, steps=20 if fast else 100) for name in ("precoding", "detection")]
        rows.append(_reset_cost())
        show("Gymnasium: VectorEnv over the bare task (64 environments)", rows)
    return rows


def _view_overhead(name: str, steps: int) -> Row:
    wirelessgym.register_envs()
    num_envs = 64
    identifier = f"wirelessgym/{name.capitalize()}-v0"
    envs = gymnasium.make_vec(identifier, num_envs=num_envs, scenario="uma-nlos-64", horizon=steps + 1)
    envs.reset(seed=0)
    task = make_task(name, scenario="uma-nlos-64", horizon=steps + 1)
    state, _ = task.reset(range(num_envs), seed=0)
    actions = envs.action_space.sample()
    tensor = torch.view_as_complex(torch.from_numpy(np.ascontiguousarray(actions)))

    @torch.no_grad()
    def step() -> None:
        nonlocal state
        state, _ = task.step(state, tensor)

    bare, viewed = in_turns(step, lambda: envs.step(actions), steps)
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
