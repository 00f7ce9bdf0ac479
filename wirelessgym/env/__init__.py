"""`Env`: Gymnasium's view of one link, and what ``gymnasium.make`` and ``gymnasium.make_vec`` call.

An `Env` is a `VectorEnv` of one row, so it equals row 0 of any other to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from wirelessgym.env.entries import one
from wirelessgym.env.info import Infos
from wirelessgym.env.spaces import Array
from wirelessgym.env.vector import RENDERING, VectorEnv
from wirelessgym.scenario import Scenario
from wirelessgym.task import Task

__all__ = ["Env", "VectorEnv", "make_env", "make_vector_env"]


class Env(gymnasium.Env[dict[str, Array], Any]):
    """One episode of a task at a time. It never starts the next one by itself.

    Observations are a dict of arrays, ``info`` holds the step's metrics: numpy scalars, or arrays where a metric has
    several values.

    Args:
        task: what is played.
        render_mode: None or ``"rgb_array"``.

    Raises:
        ValueError: for another render mode.
    """

    metadata: dict[str, Any] = RENDERING

    def __init__(self, task: Task, render_mode: str | None = None) -> None:
        self._batch = VectorEnv(task, 1, AutoresetMode.DISABLED, render_mode)
        self._running: bool | None = None  # None: never reset
        self.metadata = dict(RENDERING)  # its own: Gymnasium 1.2's SyncVectorEnv writes into it
        self.task = task
        self.render_mode = render_mode
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Array], Infos]:
        """Start episode 0 of ``seed``, or without a seed the next episode of the last one.

        Raises:
            ValueError: for any option; there are none.
        """
        super().reset(seed=seed)
        if options:
            raise ValueError(f"options: unknown key {sorted(options)[0]!r}, this environment has none")
        if self._running is None:
            self._batch.np_random = self.np_random
        obs, _ = self._batch.reset(seed=seed)
        self._running = True
        return one(obs, 0), {}

    def step(self, action: Any) -> tuple[dict[str, Array], float, bool, bool, Infos]:
        """Take an action: an array, or for tasks with several action fields a dict of arrays.

        Raises:
            ResetNeeded: before the first reset, or when the episode is over.
            TypeError: for an action of the wrong kind.
            ValueError: for an action of wrong shape or with NaN.
        """
        if not self._running:
            raise ResetNeeded("step: call reset first" if self._running is None else "step: the episode is over, reset")
        obs, reward, terminated, truncated, infos = self._batch.step(_one_row(action))
        self._running = not (terminated[0] or truncated[0])
        info = {key: value[0] for key, value in infos.items() if not key.startswith("_")}
        return one(obs, 0), float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> Any:
        """Draw the link with the last action: an image, shape (height, width, 3), uint8.

        Raises:
            ResetNeeded: before the first reset.
        """
        frames = self._batch.render()
        return None if frames is None else frames[0]


# These two lie below the registry (layer 5), but Gymnasium's ids lead to them: they look into it when called.
def make_env(task: str, scenario: str | Path | Scenario | None = None, render_mode: str | None = None, **overrides: Any) -> Env:
    """Return the `Env` behind ``gymnasium.make``; arguments as for `wirelessgym.make_task`."""
    from wirelessgym.registry import make_task

    return Env(make_task(task, scenario, **overrides), render_mode)


def make_vector_env(
    task: str,
    num_envs: int = 1,
    scenario: str | Path | Scenario | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    render_mode: str | None = None,
    **overrides: Any,
) -> VectorEnv:
    """Return the `VectorEnv` behind ``gymnasium.make_vec``; further arguments as for `wirelessgym.make_task`."""
    from wirelessgym.registry import make_task

    return VectorEnv(make_task(task, scenario, **overrides), num_envs, autoreset_mode, render_mode)


def _one_row(action: Any) -> Any:
    if isinstance(action, Mapping):
        return {key: _one_row(value) for key, value in action.items()}
    return (action,) if isinstance(action, str) else np.asarray(action)[None]
