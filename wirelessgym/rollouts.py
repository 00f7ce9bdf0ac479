"""The one loop in which agents meet tasks: comparisons, environments, checks, benchmarks and training all step through it.

In an open-loop task no action changes what comes, so agents may share the states and observations of a `Trajectory`. That
saves time and changes no result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from wirelessgym.fields import Action, Obs, put, take
from wirelessgym.statistics import Series
from wirelessgym.task import Task

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Policy: TypeAlias = Callable[[Any, Obs], Action]  # of state and observation; only genies look at the state


@dataclass(frozen=True)
class Transition:
    """One step of a batch of episodes.

    Attributes:
        obs: what follows; None where nobody moved on.
        metrics: as in `wirelessgym.task.Step`.
        live: which episodes the step counts for: those that hadn't terminated before it, shape (batch,), bool.
        terminated: which episodes it ended before the horizon, shape (batch,), bool.
        truncated: which of the others it brought to the horizon, shape (batch,), bool.
    """

    obs: Obs | None
    metrics: dict[str, Tensor]
    live: Tensor
    terminated: Tensor
    truncated: Tensor


class Trajectory:
    """States and observations of every step of an open-loop task, computed when first asked for.

    Args:
        task: an open-loop task.
        state: of the first step.
        obs: of the first step.
    """

    def __init__(self, task: Task, state: Any, obs: Obs) -> None:
        self._task, self._steps = task, [(state, obs)]

    def __getitem__(self, step: int) -> tuple[Any, Obs]:
        """State and observation of a step below the horizon, without gradients."""
        with torch.no_grad():
            while len(self._steps) <= step:
                self._steps.append(self._task.advance(self._steps[-1][0]))
        return self._steps[step]


class Rollout:
    """A batch of episodes in progress. Gradients pass from `step` to `step` where the task has them.

    Args:
        task: the task.
        state: where the episodes are.
        obs: what an agent sees there.
        trajectory: of the same rows from step 0 on, if the task is open-loop and somebody has it.

    Attributes:
        state: where the episodes are now.
        obs: what an agent sees there; after the last step of a shared trajectory, still what it saw last.
        live: which episodes have neither terminated nor reached the horizon, shape (batch,), bool.
        all_live: whether that is all of them.
    """

    def __init__(self, task: Task, state: Any, obs: Obs, trajectory: Trajectory | None = None) -> None:
        self.task, self.state, self.obs = task, state, obs
        self.live = torch.ones_like(state.episode, dtype=torch.bool)
        self.all_live = True
        self._none = ~self.live
        self._trajectory = trajectory
        self._step = 0
        self._endless = self._steps_without_end()

    def step(self, action: Action) -> Transition:
        """Take an action in every row and return the transition; raises what `Task.score` raises."""
        task, live = self.task, self.live
        if self._trajectory is None:
            state, step = task.step(self.state, action)
            obs, metrics, terminated = step.obs, step.metrics, step.terminated
        else:
            metrics = task.score(self.state, action)
            self._step += 1
            if self._step < task.horizon:
                state, obs = self._trajectory[self._step]
                terminated = task.terminated(state) if task.ends_early else self._none
            else:
                state, obs, terminated = self.state, self.obs, self._none
        if self._endless > 0:
            self._endless -= 1
            self.state, self.obs = state, obs
            return Transition(obs, metrics, live, self._none, self._none)
        terminated = terminated & live
        truncated = (self.state.time_step + 1 >= task.horizon) & live & ~terminated
        self.state, self.obs, self.live = state, obs, live & ~terminated & ~truncated
        self.all_live = bool(self.live.all())
        return Transition(obs, metrics, live, terminated, truncated)

    def restart(self, rows: Tensor, state: Any, obs: Obs) -> None:
        """Put fresh episodes (of ``len(rows)`` rows, in order) into the rows that ``rows`` (int64) names."""
        self.state, self.obs = put(self.state, rows, state), put(self.obs, rows, obs)
        self.live = self.live.index_fill(0, rows, True)
        self.all_live = bool(self.live.all())
        self._endless = self._steps_without_end()

    def play(self, policy: Policy) -> Iterator[Transition]:
        """Step until no episode is live."""
        while self.all_live or bool(self.live.any()):
            yield self.step(policy(self.state, self.obs))

    def _steps_without_end(self) -> int:
        """How many steps end no episode for sure, so that nobody has to look."""
        if self.task.ends_early or not self.all_live:
            return 0
        return self.task.horizon - 1 - int(self.state.time_step.max())


def rollout(task: Task, act: Callable[[Obs], Action], state: Any, obs: Obs) -> dict[str, Tensor]:
    """Play whole episodes from ``(state, obs)`` and return every metric.

    Args:
        task: the task.
        act: maps a batch of observations to a batch of actions.
        state: from `Task.reset`.
        obs: likewise.

    Returns:
        Metric name to tensor of shape (batch, steps) or (batch, steps, n): steps is the horizon, or fewer if every episode
        terminates earlier. After an episode's end its metrics are NaN.
    """
    steps = list(Rollout(task, state, obs).play(lambda _, seen: act(seen)))
    return {name: torch.stack([_masked(step, name) for step in steps], 1) for name in steps[0].metrics}


def _masked(step: Transition, name: str) -> Tensor:
    value = step.metrics[name]
    if bool(step.live.all()):
        return value
    return torch.where(step.live.view(-1, *[1] * (value.ndim - 1)), value, torch.nan)


def measured(state: Any, metrics: dict[str, Tensor]) -> Transition:
    """Return metrics at a state as a step of their own, which moves nothing on."""
    live = torch.ones_like(state.episode, dtype=torch.bool)
    return Transition(None, metrics, live, ~live, ~live)


def per_episode(task: Task, steps: Sequence[Transition]) -> dict[str, Array]:
    """Reduce metrics over the steps of each episode; what comes after an episode's end doesn't count.

    Args:
        task: says which metrics are ratios of sums.
        steps: of a rollout; metrics (episodes,) or (episodes, n), NaN in a vector marks an absent entry.

    Returns:
        Name to mean over steps, and for ratios the two keys to sums over steps, of the metrics that the steps hold.
    """
    live = torch.stack([step.live for step in steps], 1)
    reduced: dict[str, Array] = {}
    for key, is_sum in reductions(task).items():
        if key in steps[0].metrics:
            values = torch.stack([step.metrics[key] for step in steps], 1).double()
            reduced[key] = _over_time(values, live, is_sum).cpu().numpy()
    return reduced


def reductions(task: Task) -> dict[str, bool]:
    """Keys of ``step.metrics`` that comparisons reduce over time, and whether by a sum instead of a mean."""
    keys: dict[str, bool] = {}
    for metric in task.metrics:
        keys |= dict.fromkeys(metric.ratio, True) if metric.ratio else {metric.name: False}
    return keys


def headline(task: Task, batches: Sequence[Sequence[Transition]]) -> float:
    """Return the task's headline metric over batches of episodes, reduced as comparisons reduce it."""
    metric = task.headline
    above, below = metric.ratio or (metric.name, None)
    reduced = [per_episode(task, steps) for steps in batches]
    numerator = np.concatenate([one[above] for one in reduced])
    denominator = np.ones_like(numerator) if below is None else np.concatenate([one[below] for one in reduced])
    return Series(numerator, denominator, metric.decibel).value


def _over_time(values: Tensor, live: Tensor, is_sum: bool) -> Tensor:
    if values.ndim > 2:
        if not bool(live.all()):
            values = values.masked_fill(~live.view(*live.shape, *[1] * (values.ndim - 2)), torch.nan)
        return values.nansum(1) if is_sum else values.nanmean(1)
    if bool(live.all()):
        return values.sum(1) if is_sum else values.mean(1)
    total = values.masked_fill(~live, 0.0).sum(1)
    return total if is_sum else total / live.sum(1)


def row_of(step: tuple[Any, Obs], row: int) -> tuple[Any, Obs]:
    """State and observation of one row, as a batch of one."""
    state, obs = step
    return take(state, slice(row, row + 1)), take(obs, slice(row, row + 1))
