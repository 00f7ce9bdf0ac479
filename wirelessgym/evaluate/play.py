"""Play a block of episodes: one agent from a given start, with its decisions timed and its exceptions kept apart.

Metrics leave here as one number (or vector) per episode, in float64: the mean over the episode's steps, or for metrics
that are ratios of sums, the two sums over its steps.
"""

from __future__ import annotations

import re
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.evaluate.settings import settings_of
from wirelessgym.evaluate.statistics import Array
from wirelessgym.fields import Action, Obs
from wirelessgym.task import State, Task

Course: TypeAlias = list[tuple[Any, Obs]]  # state and observation of every step

LATENCY_CALLS = 32
LATENCY_BUDGET_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """What playing one block gave.

    Attributes:
        episodes: key of ``step.metrics`` to shape (episodes,) or (episodes, n), float64; empty after an exception.
        latency_s: seconds of single decisions, shape (decisions,).
        late: decisions that came after the deadline.
        seconds: time for the block.
        traceback: the agent's exception, None without one.
    """

    episodes: dict[str, Array]
    latency_s: Array = field(default_factory=lambda: np.zeros(0))
    late: int = 0
    seconds: float = 0.0
    traceback: str | None = None


@dataclass(frozen=True)
class Deadline:
    """A time limit for one decision, and who acts when it has passed."""

    seconds: float
    fallback: Agent


class _AgentError(Exception):
    """An agent's exception on its way out of a rollout."""


def walk(task: Task, state: State, obs: Obs) -> Course:
    """Return the state and observation of every step. No action changes them, so all agents share one course."""
    course = [(state, obs)]
    with torch.no_grad():
        for _ in range(task.horizon - 1):
            course.append(task.advance(course[-1][0]))
    return course


def play(task: Task, agent: Agent, course: Course, *, deadline: Deadline | None = None, timed: bool = False) -> Outcome:
    """Play whole episodes.

    Args:
        task: the task.
        agent: who acts; an exception of its own ends its block and is reported, not raised.
        course: from `walk`; the agent gets copies of the observations.
        deadline: with one, episodes are played one at a time and a late answer is replaced by the fallback's.
        timed: whether to time single decisions on the first observations as well.
    """
    begin = time.perf_counter()
    try:
        if deadline is None:
            episodes, late = _batch(task, agent, course), 0
        else:
            episodes, late = _one_by_one(task, agent, course, deadline)
        seconds = time.perf_counter() - begin
        latency = _latencies(task, agent, course[0][1]) if timed else np.zeros(0)
    except _AgentError as failure:
        return Outcome({}, seconds=time.perf_counter() - begin, traceback=_readable(failure.__cause__))
    return Outcome(episodes, latency, late, seconds)


def _batch(task: Task, agent: Agent, course: Course) -> dict[str, Array]:
    _reset(agent, len(course[0][0].episode))
    return per_episode(task, [_score(task, state, _act(task, agent, obs)[0]) for state, obs in course])


def _one_by_one(task: Task, agent: Agent, course: Course, deadline: Deadline) -> tuple[dict[str, Array], int]:
    _warm_up(task, agent, course[0][1])
    _warm_up(task, deadline.fallback, course[0][1])
    blocks: list[dict[str, Array]] = []
    late = 0
    for row in range(len(course[0][0].episode)):
        _reset(agent, 1)
        _reset(deadline.fallback, 1)
        steps: list[dict[str, Tensor]] = []
        for states, obs in course:
            seen = _row(obs, row)
            action, seconds = _act(task, agent, seen)
            if seconds > deadline.seconds:
                late += 1
                action, _ = _act(task, deadline.fallback, seen)
            steps.append(_score(task, states.rows(slice(row, row + 1)), action))
        blocks.append(per_episode(task, steps))
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}, late


def _latencies(task: Task, agent: Agent, obs: Obs) -> Array:
    """Seconds of single decisions on up to 32 observations, fewer where they take more than ten seconds together."""
    _warm_up(task, agent, obs)
    found: list[float] = []
    for row in range(min(LATENCY_CALLS, len(next(iter(obs.values()))))):
        _reset(agent, 1)
        found.append(_act(task, agent, _row(obs, row))[1])
        if sum(found) > LATENCY_BUDGET_S:
            break
    return np.array(found)


def _warm_up(task: Task, agent: Agent, obs: Obs) -> None:
    _reset(agent, 1)
    _act(task, agent, _row(obs, 0))


def _row(obs: Obs, row: int) -> Obs:
    return {key: value[row : row + 1] for key, value in obs.items()}


def _reset(agent: Agent, batch: int) -> None:
    try:
        agent.reset(batch)
    except Exception as error:
        raise _AgentError from error


def _act(task: Task, agent: Agent, obs: Obs) -> tuple[Action, float]:
    # Copies: a perfect observation may share memory with the true channel, and all agents share the observation.
    seen = {key: value.clone() for key, value in obs.items()}
    settings = settings_of(task)
    begin = time.perf_counter()
    try:
        action = agent.act(settings, seen)
    except Exception as error:
        raise _AgentError from error
    return action, time.perf_counter() - begin


def _score(task: Task, state: Any, action: Action) -> dict[str, Tensor]:
    detached = {k: _detached(v) for k, v in action.items()} if isinstance(action, dict) else _detached(action)
    try:
        with torch.no_grad():
            return task.score(state, detached)
    except (TypeError, ValueError) as error:  # what a task raises for an action that it refuses
        raise _AgentError from error


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def per_episode(task: Task, steps: list[dict[str, Tensor]]) -> dict[str, Array]:
    """Reduce metrics over the steps of each episode.

    Args:
        task: says which metrics are ratios of sums.
        steps: ``step.metrics`` of each step, (episodes,) or (episodes, n); NaN in a vector marks an absent entry.

    Returns:
        Name to mean over steps, and for ratios the two keys to sums over steps, of the metrics that the steps hold.
    """
    reduced: dict[str, Array] = {}
    for metric in task.metrics:
        for key in metric.ratio or (metric.name,):
            if key not in steps[0]:
                continue
            values = torch.stack([metrics[key] for metrics in steps], 1).double()
            if values.ndim > 2:
                over_time = values.nansum(1) if metric.ratio else values.nanmean(1)
            else:
                over_time = values.sum(1) if metric.ratio else values.mean(1)
            reduced[key] = over_time.cpu().numpy()
    return reduced


def bounds(task: Task, course: Course) -> Outcome:
    """Take the task's bound at every step (at the first only, where it doesn't vary); no metrics where it knows none."""
    begin = time.perf_counter()
    with torch.no_grad():
        steps = [task.bound_metrics(state) for state, _ in (course if task.bound_varies else course[:1])]
    return Outcome(per_episode(task, steps), seconds=time.perf_counter() - begin)


def _readable(error: BaseException | None) -> str:
    """The traceback with files by name, or by their path within site-packages: no folder of this machine."""
    text = "".join(traceback.format_exception(error))
    text = re.sub(r'File "([^"]+)"', lambda match: f'File "{_short(match[1])}"', text)
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _short(path: str) -> str:
    return path.rpartition("site-packages/")[2] if "site-packages/" in path else Path(path).name
