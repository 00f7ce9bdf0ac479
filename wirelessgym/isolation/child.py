"""The other side: what runs in an agent's own process."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor

from wirelessgym.isolation.wire import receive, send
from wirelessgym.parallel.orphans import end_with_parent


def serve(descriptor: int, parent: int, path: Sequence[str]) -> None:
    """Answer requests until the other side is gone.

    Args:
        descriptor: of the socket over which they come.
        parent: process id of who started this process.
        path: where modules are found.
    """
    end_with_parent(parent, killed_by_kernel=True)
    sys.path[:] = path
    os.dup2(2, 1)  # standard output is the caller's, for tables
    torch.set_num_threads(1)
    with suppress(EOFError, OSError), socket.socket(fileno=descriptor) as door:
        player = _Player()
        while True:
            request: dict[str, Any] = receive(door)
            try:
                answer: dict[str, Any] = {"answer": getattr(player, request.pop("do"))(**request)}
                send(door, answer)
            except (EOFError, OSError):
                raise
            except Exception as error:
                send(door, _failure(error))
            except BaseException as error:  # the process ends with it, as it would elsewhere; what it was is said first
                send(door, _failure(error) | {"last": True})
                raise


class _Player:
    """The agent and the task that it is asked about; a method for each request."""

    def __init__(self) -> None:
        self._source: bytes | str = b""
        self._agent: Any = None
        self._spec: bytes = b""
        self._task: Any = None

    def load(self, source: bytes | str) -> None:
        """Take an agent: a pickle, or its name as ``module:name:option=value``."""
        self._source = source

    def make(self) -> None:
        """Make the agent, untouched by earlier use."""
        self._agent = self._task = None  # the spec's tensors are as they came, too
        from wirelessgym.agent import as_agent
        from wirelessgym.agent_names import named_agent

        if isinstance(self._source, str):
            self._agent = named_agent(self._source)
        else:
            self._agent = as_agent(cloudpickle.loads(self._source))

    def describe(self) -> dict[str, Any]:
        """Say what a comparison has to know of the agent."""
        from wirelessgym.agent_spec import description

        return description(self._agent)

    def count_parameters(self) -> int:
        """Say how many parameters the agent has by now."""
        count: int = self._agent.num_parameters
        return count

    def begin(self, task: bytes) -> None:
        """Take the settings of the task that the next observations belong to."""
        self._spec, self._task = task, None

    def reset(self, batch: int) -> None:
        """Let the agent forget everything."""
        self._agent.reset(batch)

    def act(self, obs: dict[str, Any], state: bytes | None = None) -> Any:
        """Return the agent's action; a genie gets the task itself and the state."""
        if state is not None:
            action = self._agent.act_on_state(*cloudpickle.loads(state), obs)
        else:
            if self._task is None:
                self._task = cloudpickle.loads(self._spec)
            action = self._agent.act(self._task, obs)
        return (
            {key: _sendable(key, value) for key, value in action.items()} if isinstance(action, dict) else _sendable("", action)
        )


def _sendable(name: str, value: object) -> Tensor:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, Tensor):
        raise TypeError(f"action{' ' * bool(name)}{name}: expected a tensor or an array of numbers, got {type(value).__name__}")
    return value


def _failure(error: BaseException) -> dict[str, Any]:
    """An exception as text, with what a caller may raise again as the same kind."""
    sys.stdout.flush()
    lines = "".join(traceback.format_exception(error))
    return {"failure": lines[-200_000:], "kind": type(error).__name__, "message": str(error)[:10_000]}
