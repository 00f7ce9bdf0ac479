"""An agent in a process of its own, as the agent that the scoring process plays with."""

from __future__ import annotations

import math
from typing import Any

import cloudpickle

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs, num_rows
from wirelessgym.isolation.process import AgentProcess
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

SLACK_BYTES = 64 * 2**20  # an answer of the wrong shape should still arrive, so that the task can say what is wrong with it
WIDEST_BYTES = 16  # complex128


class RemoteAgent(Agent):
    """Plays an agent that lives in another process, where it is made anew with this object.

    Args:
        name: name in tables and records.
        process: where it lives.
        genie: whether it sees the true state.

    Raises:
        AgentFailure: from the constructor and each method, if the agent fails there.
    """

    def __init__(self, name: str, process: AgentProcess, genie: bool = False) -> None:
        self._name, self._process = name, process
        self.needs_state = genie  # type: ignore[misc]
        process.ask("make")

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Send the observation and return the action that comes back; the task's spec goes once per process."""
        settings = (task.id, task.options, task.scenario, task.horizon)
        if settings != self._process.told:
            self._process.ask("begin", task=cloudpickle.dumps(task.spec))
            self._process.told = settings
        return self._acted(task, obs)

    def act_on_state(self, task: Task, state: Any, obs: Obs) -> Action:
        """Likewise, with the true state."""
        return self._acted(task, obs, state=cloudpickle.dumps((task, state)))

    def _acted(self, task: TaskSpec | Task, obs: Obs, **more: bytes) -> Action:
        expected = sum(num_rows(obs) * math.prod(field.shape) * WIDEST_BYTES for field in task.action_fields)
        action: Action = self._process.ask("act", limit=expected + SLACK_BYTES, obs=obs, **more)
        return action

    def reset(self, batch: int) -> None:
        """Let it forget everything."""
        self._process.ask("reset", batch=batch)

    @property
    def name(self) -> str:
        """Name in tables and records."""
        return self._name

    @property
    def num_parameters(self) -> int:
        """How many it says that it has."""
        count: int = self._process.ask("count_parameters")
        return count
