"""An agent in a process of its own, as the agent that the scoring process plays with."""

from __future__ import annotations

import math
from typing import Any

import cloudpickle

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.isolation.process import AgentProcess
from wirelessgym.task import Task

SLACK_BYTES = 64 * 2**20  # an answer of the wrong shape should still arrive, so that the task can say what is wrong with it
WIDEST_BYTES = 16  # complex128


class RemoteAgent(Agent):
    """Plays an agent that lives in another process; made anew there with this object.

    Raises:
        AgentFailure: from the constructor and each method, if the agent fails there.
    """

    def __init__(self, name: str, process: AgentProcess) -> None:
        self._name, self._process, self._task = name, process, None
        process.ask("make")

    def act(self, task: Task, obs: Obs) -> Action:
        """Send the observation and return the action that comes back; the task's settings go once."""
        if task is not self._task:
            self._process.ask("begin", task=cloudpickle.dumps(getattr(task, "spec", task)))
            self._task: Any = task
        batch = len(next(iter(obs.values())))
        expected = sum(batch * math.prod(field.shape) * WIDEST_BYTES for field in task.action_fields)
        action: Action = self._process.ask("act", limit=expected + SLACK_BYTES, obs=obs)
        return action

    def reset(self, batch: int) -> None:
        """Let it forget everything."""
        self._process.ask("reset", batch=batch)

    @property
    def name(self) -> str:
        """Name in tables and records."""
        return self._name
