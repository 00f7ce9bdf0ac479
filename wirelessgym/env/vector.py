"""`VectorEnv`: Gymnasium's view of a batch of links, stepped together.

Row j reset with seed s plays the episodes of seed s + j, in order. An episode's state is out of reach of whoever holds
the environment: observations and infos carry what a receiver sees and how well it did, never labels or true channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import logger
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from torch import Tensor

from wirelessgym.env.entries import replaced
from wirelessgym.env.info import Infos, LazyInfos, masked, with_final
from wirelessgym.env.partial import row_seeds, rows_to_reset
from wirelessgym.env.pool import EpisodePool
from wirelessgym.env.spaces import Array, Space, action_space, action_to_torch, as_numpy, obs_to_numpy, observation_space
from wirelessgym.fields import Action, Obs, take
from wirelessgym.rollouts import Rollout
from wirelessgym.task import State, Task

RENDERING: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}


class VectorEnv(gymnasium.vector.VectorEnv[dict[str, Array], Any, Array]):
    """``num_envs`` episodes of a task, stepped as one batch.

    Observations are a dict of arrays, (num_envs, *shape); rewards are float32. ``info`` holds the step's metrics, each
    with a mask ``_name`` of the rows it is valid for; what has no value (the rate of an absent user) is zero. It is worked
    out when somebody first looks. Under ``SAME_STEP`` a row that ends starts its next episode in the same step: its last
    observation and metrics are in ``info["final_obs"]`` and ``info["final_info"]``.

    Args:
        task: what is played.
        num_envs: rows.
        autoreset_mode: ``SAME_STEP``, or ``DISABLED``, where ``reset(options={"reset_mask": mask})`` resets ended rows.
        render_mode: None or ``"rgb_array"``.

    Raises:
        ValueError: for ``num_envs`` below 1, or an autoreset or render mode that isn't there.
    """

    def __init__(
        self,
        task: Task,
        num_envs: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        render_mode: str | None = None,
    ) -> None:
        super().__init__()
        if num_envs < 1:
            raise ValueError(f"num_envs: expected at least 1, got {num_envs}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode: expected None or 'rgb_array', got {render_mode!r}")
        self.task = task
        self.num_envs = num_envs
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = RENDERING | {"autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self.single_observation_space = observation_space(task.observation_fields)
        self.single_action_space = action_space(task.action_fields)
        self._action_fields = task.action_fields
        self._pool = EpisodePool(task, num_envs)
        self._rollout: Rollout | None = None
        self._shown: tuple[State, Action | None] | None = None  # a state and the action taken in it, to be drawn

    # Bounds of a large batch take as much memory as the batch, so they are laid out when somebody asks for them.
    @cached_property
    def observation_space(self) -> Space:  # type: ignore[override]
        """Space of a batch of observations."""
        return batch_space(self.single_observation_space, self.num_envs)

    @cached_property
    def action_space(self) -> Space:  # type: ignore[override]
        """Space of a batch of actions."""
        return batch_space(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], Infos]:
        """Start an episode in every row, or in those that ``options["reset_mask"]`` marks.

        Args:
            seed: s, for seeds s, s + 1, ... of the rows; or one for each row. None goes on with the row's next episode;
                rows that never had a seed get one from ``np_random``.
            options: ``reset_mask``, a bool array (num_envs,), needs autoreset mode ``DISABLED``.

        Raises:
            ValueError: for a wrong number of seeds, one outside [0, 2^63), an unknown option, or a mask that doesn't fit.
            TypeError: for a seed that is no integer.
            ResetNeeded: for a mask before all rows were reset once.
        """
        rows = rows_to_reset(options, self.num_envs)
        if len(rows) < self.num_envs and self.autoreset_mode is not AutoresetMode.DISABLED:
            raise ValueError("reset_mask: needs autoreset_mode DISABLED; under SAME_STEP rows reset themselves")
        if len(rows) < self.num_envs and self._rollout is None:
            raise ResetNeeded("reset_mask: reset all rows once first")
        seeds = row_seeds(seed, self.num_envs)
        if isinstance(seed, int | np.integer):
            super().reset(seed=int(seed))
        with torch.no_grad():
            # Who resets with a seed may well do so in a loop, where episodes drawn ahead would go to waste.
            state, obs = self._pool.take(rows, ahead=not self._begin(rows, seeds))
        self._start(rows, state, obs)
        self._shown = (self._playing().state, None) if self.render_mode else None
        return self._arrays(), {}

    def step(self, actions: Any) -> tuple[dict[str, Array], Array, Array, Array, Infos]:
        """Take a batch of actions: an array, or for tasks with several action fields a dict of arrays.

        Returns:
            Observations, rewards (num_envs,) float32, terminated and truncated (num_envs,) bool, infos.

        Raises:
            ResetNeeded: before the first reset, or where a row has ended and autoreset is disabled.
            TypeError: for actions of the wrong kind.
            ValueError: for actions of wrong shape or with NaN; the message names entry and row.
        """
        rollout = self._playing()
        if not rollout.all_live:
            raise ResetNeeded(f"step: the episodes of rows {(~rollout.live).nonzero()[:, 0].tolist()} are over, reset them")
        action = action_to_torch(actions, self._action_fields)
        self._shown = (rollout.state, action) if self.render_mode else None
        with torch.no_grad():
            step = rollout.step(action)
        obs, metrics = self._arrays(), step.metrics
        reward = self.task.reward(metrics).numpy().copy()  # tasks may report it among the metrics
        if rollout.all_live:
            terminated, truncated = np.zeros((2, self.num_envs), bool)
            return (
                obs,
                reward,
                terminated,
                truncated,
                LazyInfos.later(lambda: masked(_shown(metrics), np.ones(self.num_envs, bool))),
            )
        terminated, truncated = step.terminated.numpy().copy(), step.truncated.numpy().copy()
        done = terminated | truncated
        if self.autoreset_mode is AutoresetMode.DISABLED:
            return obs, reward, terminated, truncated, masked(_shown(metrics), np.ones_like(done))
        infos = with_final(obs, _shown(metrics), done)
        return self._restart(obs, np.flatnonzero(done)), reward, terminated, truncated, infos

    def render(self) -> tuple[Any, ...] | None:
        """Draw every row with its last action: a tuple of images, shape (height, width, 3), uint8.

        Raises:
            ResetNeeded: before the first reset.
        """
        if self.render_mode is None:
            logger.warn('render() needs an environment that was made with render_mode="rgb_array"')
            return None
        if self._shown is None:
            raise ResetNeeded("render: call reset first")
        state, action = self._shown
        rows = [slice(row, row + 1) for row in range(self.num_envs)]
        return tuple(self.task.render(take(state, row), take(action, row)) for row in rows)

    def _begin(self, rows: Array, seeds: list[int | None]) -> bool:
        """Seed those of ``rows`` that get a seed; say whether any did."""
        if self._rollout is None and None in seeds:
            drawn = row_seeds(int(self.np_random.integers(2**31)), self.num_envs)
            seeds = [new if old is None else old for old, new in zip(seeds, drawn, strict=True)]
        told = {row: value for row in rows.tolist() if (value := seeds[row]) is not None}
        self._pool.begin(np.array([*told], np.int64), np.array([*told.values()], np.int64))
        return bool(told)

    def _restart(self, obs: dict[str, Array], rows: Array) -> dict[str, Array]:
        """Start the next episode of ``rows``; return the batch of observations with theirs in place."""
        with torch.no_grad():
            state, first = self._pool.take(rows)
        self._start(rows, state, first)
        return self._arrays() if len(rows) == self.num_envs else replaced(obs, rows, obs_to_numpy(first, state))

    def _start(self, rows: Array, state: State, obs: Obs) -> None:
        """Let ``rows`` play the episodes that begin at ``state``."""
        if self._rollout is None or len(rows) == self.num_envs:
            self._rollout = Rollout(self.task, state, obs)
        else:
            self._rollout.restart(torch.from_numpy(rows), state, obs)

    def _arrays(self) -> dict[str, Array]:
        """What is seen now. Where rows are reset one by one the others' is shown again, whatever a caller did to it meanwhile."""
        rollout = self._playing()
        again = self.autoreset_mode is AutoresetMode.DISABLED and self.num_envs > 1
        return obs_to_numpy(rollout.obs, rollout.state, apart=again)

    def _playing(self) -> Rollout:
        if self._rollout is None:
            raise ResetNeeded("step: call reset first")
        return self._rollout


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    named = {m.name: m for m in AutoresetMode} | {m.value: m for m in AutoresetMode}
    chosen = named.get(mode) if isinstance(mode, str) else mode
    if chosen not in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
        raise ValueError(f"autoreset_mode: expected SAME_STEP or DISABLED, got {mode}")
    return chosen


def _shown(metrics: dict[str, Tensor]) -> dict[str, Array]:
    """Metrics as arrays, zero where one has no value, such as the rate of an absent user: NaN does not even equal itself."""
    return {key: _defined(as_numpy(value)) for key, value in metrics.items()}


def _defined(metric: Array) -> Array:
    missing = np.isnan(metric)
    return np.where(missing, metric.dtype.type(0), metric) if missing.any() else metric
