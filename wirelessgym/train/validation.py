"""Validation: how well the agent acts on episodes that training never sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wirelessgym.fields import Action
from wirelessgym.learned import LearnedAgent
from wirelessgym.rollouts import measured, per_episode
from wirelessgym.statistics import Array, Series
from wirelessgym.task import Task
from wirelessgym.train.draw import Batch

NOT_FINITE = "NaN or infinite"  # how `Field.check` names what it refuses


def headline(task: Task, agent: LearnedAgent, batches: Sequence[Batch], device: torch.device) -> float:
    """The task's headline metric over the first observation of each episode, reduced as comparisons do; NaN for refused actions.

    The agent sees what it sees in comparisons: settings and observations.
    """
    found: list[dict[str, Array]] = []
    for state, obs in batches:
        action = agent.act(task.spec, {key: value.to(device, copy=True) for key, value in obs.items()})
        try:
            with torch.no_grad():
                found.append(per_episode(task, [measured(state, task.score(state, _on_cpu(action)))]))
        except ValueError as error:
            if NOT_FINITE not in str(error):
                raise
            return float("nan")
    metric = task.headline
    above, below = metric.ratio or (metric.name, None)
    numerator = np.concatenate([one[above] for one in found])
    denominator = np.ones_like(numerator) if below is None else np.concatenate([one[below] for one in found])
    return Series(numerator, denominator, metric.decibel).value


def mean_gain(tasks: Mapping[str, Task], first: Mapping[str, float], now: Mapping[str, float]) -> float:
    """How much better than ``first`` the values are, relative to them, as a mean over entries; -inf if one isn't finite."""
    gains = []
    for label, value in now.items():
        sign = 1 if tasks[label].headline.higher_is_better else -1
        gains.append(sign * (value - first[label]) / max(abs(first[label]), 1e-12))
    mean = float(np.mean(gains))
    return mean if math.isfinite(mean) else -math.inf


def _on_cpu(action: Action) -> Any:
    if isinstance(action, Tensor):
        return action.cpu()
    return {key: value.cpu() for key, value in action.items()}
