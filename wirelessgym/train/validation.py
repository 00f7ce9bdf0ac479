"""Validation: how well the agent acts on episodes that training never sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from wirelessgym.fields import Action, Obs, clone, num_rows, to
from wirelessgym.learned import LearnedAgent
from wirelessgym.rollouts import Array, Rollout, Transition, measured, per_episode
from wirelessgym.statistics import Series
from wirelessgym.task import Task
from wirelessgym.train.sampling import Batch

NOT_FINITE = "NaN or infinite"  # how `Field.check` names what it refuses


def headline(task: Task, agent: LearnedAgent, batches: Sequence[Batch], device: torch.device) -> float:
    """The task's headline metric, reduced as comparisons do; NaN for refused actions.

    Open-loop tasks are validated on the first observation of each episode, as they are trained; in others the agent plays whole
    episodes. It sees what it sees in comparisons: the task's spec and observations.
    """
    found: list[dict[str, Array]] = []
    for batch in batches:
        try:
            with torch.no_grad():
                found.append(per_episode(task, _play(task, agent, batch, device)))
        except ValueError as error:
            if NOT_FINITE not in str(error):
                raise
            return float("nan")
    metric = task.headline
    above, below = metric.ratio or (metric.name, None)
    numerator = np.concatenate([one[above] for one in found])
    denominator = np.ones_like(numerator) if below is None else np.concatenate([one[below] for one in found])
    return Series(numerator, denominator, metric.decibel).value


def _play(task: Task, agent: LearnedAgent, batch: Batch, device: torch.device) -> list[Transition]:
    state, obs = batch
    agent.reset(num_rows(state))

    def act(_: object, seen: Obs) -> Action:
        return to(agent.act(task.spec, to(clone(seen), device)), "cpu")

    if task.open_loop:
        return [measured(state, task.score(state, act(state, obs)))]
    return list(Rollout(task, state, obs).play(act))


def mean_gain(tasks: Mapping[str, Task], first: Mapping[str, float], now: Mapping[str, float]) -> float:
    """How much better than ``first`` the values are, relative to them, as a mean over entries; -inf if one isn't finite."""
    gains = []
    for label, value in now.items():
        sign = 1 if tasks[label].headline.higher_is_better else -1
        gains.append(sign * (value - first[label]) / max(abs(first[label]), 1e-12))
    mean = float(np.mean(gains))
    return mean if math.isfinite(mean) else -math.inf
