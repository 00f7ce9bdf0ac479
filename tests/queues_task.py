"""A closed-loop task small enough to be played by hand: two queues, one of which is served in each slot.

Packets arrive by coin flips that belong to the slot. A queue that grows past its limit ends the episode.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field as Bounds
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.channel.randomness import generators, uniform
from wirelessgym.fields import Action, Field, Obs
from wirelessgym.metrics import Metric
from wirelessgym.task import State, Task


@dataclass(frozen=True)
class QueuesState(State):
    backlog: Tensor  # (batch, 2), int64


@dataclass(frozen=True)
class Queues(Task):
    """Serve the queues.

    Attributes:
        limit: packets that a queue holds.
    """

    limit: Annotated[int, Bounds(ge=1, le=1000)] = 1000

    id = "queues"
    default_scenario = "rayleigh-32"
    differentiable = False
    open_loop = False  # a packet that isn't served is still there in the next slot
    metrics = (
        Metric("served", "packet", True, "packets that left in this slot", "definition"),
        Metric("backlog", "packet", False, "packets that wait, over the slots", "definition", ratio=("waiting", "slots")),
        Metric("backlogs", "packet", False, "of each queue", "definition"),
    )

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return (Field("backlog", (2,), "float32", "packet", 0, 1e6, "packets in each queue"),)

    @property
    def action_fields(self) -> tuple[Field, ...]:
        return (Field("queue", (), "int64", "1", 0, 1, "which queue is served"),)

    def arrivals(self, state: QueuesState) -> Tensor:
        """Coin flips of the slot, whatever anybody does, shape (batch, 2)."""
        rows = generators(state.seed, state.episode, "arrivals", state.time_step)
        return (uniform((2,), rows) < torch.tensor([0.3, 0.6])).long()

    def reset(self, episodes: Sequence[int], seed: int | Sequence[int] = 0) -> tuple[QueuesState, Obs]:
        seeds = [seed] * len(episodes) if isinstance(seed, int) else list(seed)
        numbers = torch.tensor(list(episodes))
        state = QueuesState(
            torch.tensor(seeds), numbers, torch.zeros_like(numbers), torch.zeros(len(seeds), 2, dtype=torch.int64)
        )
        state = replace(state, backlog=self.arrivals(state))
        return state, {"backlog": state.backlog.float()}

    def served(self, state: QueuesState, action: Action) -> Tensor:
        queue = self.check_action(action, len(state.seed))["queue"]
        return torch.nn.functional.one_hot(queue, 2) * (state.backlog > 0)

    def score(self, state: QueuesState, action: Action) -> dict[str, Tensor]:
        waiting = state.backlog.sum(-1).float()
        served = self.served(state, action).sum(-1).float()
        return {"served": served, "waiting": waiting, "slots": torch.ones_like(waiting), "backlogs": state.backlog.float()}

    def advance(self, state: QueuesState, action: Action | None = None) -> tuple[QueuesState, Obs]:
        assert action is not None
        left = state.backlog - self.served(state, action)
        state = replace(state, time_step=state.time_step + 1)
        state = replace(state, backlog=left + self.arrivals(state))
        return state, {"backlog": state.backlog.float()}

    def terminated(self, state: QueuesState) -> Tensor:
        return (state.backlog > self.limit).any(-1)

    def render(self, state: Any, action: Action | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True)
class Longest(Agent):
    tasks = ("queues",)

    def act(self, task: Any, obs: Obs) -> Tensor:
        return obs["backlog"].argmax(-1)


@dataclass(frozen=True)
class First(Agent):
    tasks = ("queues",)

    def act(self, task: Any, obs: Obs) -> Tensor:
        return torch.zeros(len(obs["backlog"]), dtype=torch.int64)


def by_hand(agent: str, limit: int, episode: int, seed: int, horizon: int) -> list[tuple[int, list[int]]]:
    """Packets served and backlog of each slot, one packet at a time."""
    coins = [generators(torch.tensor([seed]), torch.tensor([episode]), "arrivals", torch.tensor([t])) for t in range(horizon + 1)]
    arrive = [[int(u < p) for u, p in zip(uniform((2,), rows)[0].tolist(), (0.3, 0.6), strict=True)] for rows in coins]
    backlog, played = list(arrive[0]), []
    for slot in range(horizon):
        queue = 0 if agent == "First" or backlog[0] >= backlog[1] else 1
        served = int(backlog[queue] > 0)
        played.append((served, list(backlog)))
        backlog[queue] -= served
        backlog = [n + a for n, a in zip(backlog, arrive[slot + 1], strict=True)]
        if max(backlog) > limit:
            break
    return played
