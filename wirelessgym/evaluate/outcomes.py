"""What came of a block of episodes: one agent from a given start, with its decisions timed and its exceptions kept apart.

Metrics leave here as one number (or vector) per episode, in float64: the mean over the episode's steps, or for metrics
that are ratios of sums, the two sums over its steps.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs, clone, num_rows
from wirelessgym.isolation.process import AgentFailure
from wirelessgym.rollouts import Array, Rollout, Trajectory, Transition, measured, per_episode, row_of
from wirelessgym.task import Task

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
        parameters: trainable parameters that the agent had built by then; 0 where nobody counted.
    """

    episodes: dict[str, Array]
    latency_s: Array = field(default_factory=lambda: np.zeros(0))
    late: int = 0
    seconds: float = 0.0
    traceback: str | None = None
    parameters: int = 0


@dataclass(frozen=True)
class Deadline:
    """A time limit for one decision, and who acts when it has passed."""

    seconds: float
    fallback: Agent


class _AgentError(Exception):
    """An agent's exception on its way out of a rollout."""


def play(
    task: Task,
    agent: Agent,
    start: tuple[Any, Obs],
    trajectory: Trajectory | None = None,
    *,
    deadline: Deadline | None = None,
    timed: bool = False,
) -> Outcome:
    """Play whole episodes.

    Args:
        task: the task.
        agent: who acts; an exception of its own ends its block and is reported, not raised.
        start: state and observation of the first step; the agent gets copies of observations.
        trajectory: from there on, if the task is open-loop.
        deadline: with one, episodes are played one at a time and a late answer is replaced by the fallback's.
        timed: whether to time single decisions on the first observations as well, and to count the agent's parameters.
    """
    begin = time.perf_counter()
    try:
        with torch.no_grad():
            if deadline is None:
                _reset(agent, num_rows(start[1]))
                steps = Rollout(task, *start, trajectory).play(lambda state, obs: _act(task, agent, state, obs)[0])
                episodes, late = per_episode(task, _taken(steps)), 0
            else:
                episodes, late = _one_by_one(task, agent, start, deadline)
        seconds = time.perf_counter() - begin
        latency = _latencies(task, agent, start) if timed else np.zeros(0)
        parameters = _parameters(agent) if timed else 0
    except _AgentError as failure:
        return failed(failure.__cause__, time.perf_counter() - begin)
    return Outcome(episodes, latency, late, seconds, parameters=parameters)


def failed(error: BaseException | None, seconds: float = 0.0) -> Outcome:
    """The outcome of an agent that raised ``error``."""
    return Outcome({}, seconds=seconds, traceback=_readable(error))


def bounds(task: Task, start: tuple[Any, Obs], trajectory: Trajectory | None = None) -> Outcome:
    """Take the task's bound; no metrics where it knows none.

    In an open-loop task at every step (at the first only, where it doesn't vary). In a closed-loop task at the first state alone,
    since the later ones depend on who acts: the bound of such a task holds for the whole episode.
    """
    begin = time.perf_counter()
    with torch.no_grad():
        steps = [measured(start[0], task.bound_metrics(start[0]))]
        if trajectory is not None and task.bound_varies:
            live = torch.ones_like(start[0].episode, dtype=torch.bool)
            for number in range(1, task.horizon):
                state, _ = trajectory[number]
                live = live & ~task.terminated(state)  # what comes after an episode's end counts for nobody
                steps.append(replace(measured(state, task.bound_metrics(state)), live=live))
    return Outcome(per_episode(task, steps), seconds=time.perf_counter() - begin)


def _one_by_one(task: Task, agent: Agent, start: tuple[Any, Obs], deadline: Deadline) -> tuple[dict[str, Array], int]:
    _warm_up(task, agent, start)
    _warm_up(task, deadline.fallback, start)
    late = 0

    def in_time(state: Any, obs: Obs) -> Action:
        nonlocal late
        action, seconds = _act(task, agent, state, obs)
        if seconds > deadline.seconds:
            late += 1
            action, _ = _act(task, deadline.fallback, state, obs)
        return action

    blocks: list[dict[str, Array]] = []
    for row in range(num_rows(start[1])):
        _reset(agent, 1)
        _reset(deadline.fallback, 1)
        steps = _taken(Rollout(task, *row_of(start, row)).play(in_time))
        blocks.append(per_episode(task, steps))
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}, late


def _taken(steps: Iterator[Transition]) -> list[Transition]:
    """The steps of a rollout; what a task says of an action that it refuses is the agent's failure."""
    try:
        return list(steps)
    except (TypeError, ValueError) as error:
        raise _AgentError from error


def _latencies(task: Task, agent: Agent, start: tuple[Any, Obs]) -> Array:
    """Seconds of single decisions on up to 32 observations, fewer where they take more than ten seconds together."""
    _warm_up(task, agent, start)
    seconds: list[float] = []
    for row in range(min(LATENCY_CALLS, num_rows(start[1]))):
        _reset(agent, 1)
        seconds.append(_act(task, agent, *row_of(start, row))[1])
        if sum(seconds) > LATENCY_BUDGET_S:
            break
    return np.array(seconds)


def _warm_up(task: Task, agent: Agent, start: tuple[Any, Obs]) -> None:
    _reset(agent, 1)
    _act(task, agent, *row_of(start, 0))


def _parameters(agent: Agent) -> int:
    """Count anew: fresh weights are built where they are first used."""
    try:
        count = agent.num_parameters
        if type(count) is not int or not 0 <= count < 2**63:
            raise ValueError(f"num_parameters: expected a number of weights, got {count!r:.200}")
    except Exception as error:
        raise _AgentError from error
    return count


def _reset(agent: Agent, batch: int) -> None:
    try:
        agent.reset(batch)
    except Exception as error:
        raise _AgentError from error


def _act(task: Task, agent: Agent, state: Any, obs: Obs) -> tuple[Action, float]:
    """The agent's action, without gradients, and the seconds that it took."""
    # Copies: a perfect observation may share memory with the true channel, and all agents share the observation.
    seen, spec = clone(obs), task.spec
    begin = time.perf_counter()
    try:
        action = agent.act_on_state(task, state, seen) if agent.needs_state else agent.act(spec, seen)
    except Exception as error:
        raise _AgentError from error
    seconds = time.perf_counter() - begin
    if isinstance(action, dict):
        return {key: _detached(value) for key, value in action.items()}, seconds
    return _detached(action), seconds


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _readable(error: BaseException | None) -> str:
    """The traceback with files by name, or by their path within site-packages: no folder of this machine."""
    text = error.text if isinstance(error, AgentFailure) else "".join(traceback.format_exception(error))
    text = re.sub(r'File "([^"]+)"', lambda match: f'File "{_short(match[1])}"', text)
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _short(path: str) -> str:
    return path.rpartition("site-packages/")[2] if "site-packages/" in path else Path(path).name
