"""A closed-loop task small enough to solve exactly: when to spend what a battery has saved up.

Each slot a quantum of energy arrives or doesn't. Whoever sends spends all of it and earns ``REWARDS[energy]``, which pays for
patience; what doesn't fit the battery is lost. The next slot's energy is the consequence of this slot's action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from wirelessgym.channel.randomness import generators, integers, uniform
from wirelessgym.fields import Action, Field, Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.metrics import Metric
from wirelessgym.task import State, Task

REWARDS = (0.0, 1.0, 3.0, 7.0)
ARRIVAL = 0.5
STARTS = 3  # an episode starts with 0, 1 or 2 quanta


@dataclass(frozen=True)
class BatteryState(State):
    energy: Tensor


@dataclass(frozen=True)
class Battery(Task):
    """Earn as much as possible from a battery.

    Attributes:
        fragile: whether a battery that is full at the end of a slot breaks, which ends the episode.
    """

    fragile: bool = False

    id: ClassVar[str] = "battery"
    default_scenario: ClassVar[str] = "rayleigh-32"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("earned", "1", True, "REWARDS[energy] if sent", "definition"),)
    differentiable: ClassVar[bool] = False
    open_loop: ClassVar[bool] = False  # what is sent is gone

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return (
            Field("energy", (), "int64", "1", 0, len(REWARDS) - 1, "quanta in the battery"),
            Field("slot", (), "int64", "1", 0, 1000, "time step"),
        )

    @property
    def action_fields(self) -> tuple[Field, ...]:
        return (Field("send", (), "int64", "1", 0, 1, "1: send, 0: wait"),)

    def reset(self, episodes: Sequence[int], seed: int | Sequence[int] = 0) -> tuple[BatteryState, Obs]:
        seeds = torch.tensor([seed] * len(episodes) if isinstance(seed, int) else list(seed))
        numbers = torch.tensor(list(episodes))
        energy = integers(0, STARTS, (), generators(seeds, numbers, "start"))
        state = BatteryState(seed=seeds, episode=numbers, time_step=torch.zeros_like(seeds), energy=energy)
        return state, self.observe(state)

    def observe(self, state: BatteryState) -> Obs:
        return {"energy": state.energy, "slot": state.time_step}

    def score(self, state: BatteryState, action: Action) -> dict[str, Tensor]:
        sent = self.check_action(action, len(state.seed))["send"]
        return {"earned": torch.tensor(REWARDS)[state.energy] * sent}

    def advance(self, state: BatteryState, action: Action | None = None) -> tuple[BatteryState, Obs]:
        assert action is not None
        sent = self.check_action(action, len(state.seed))["send"]
        rows = generators(state.seed, state.episode, "arrival", state.time_step)
        arrived = (uniform((), rows) < ARRIVAL).long()
        energy = (torch.where(sent == 1, 0, state.energy) + arrived).clamp(max=len(REWARDS) - 1)
        state = replace(state, time_step=state.time_step + 1, energy=energy)
        return state, self.observe(state)

    def terminated(self, state: BatteryState) -> Tensor:
        return (state.energy == len(REWARDS) - 1) & self.fragile

    def render(self, state: Any, action: Action | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.zeros((4, 4, 3), np.uint8)


def best(horizon: int, fragile: bool = False) -> float:
    """Expected earnings of the best policy in an episode."""
    return sum(value(energy, horizon, fragile) for energy in range(STARTS)) / STARTS


@cache
def value(energy: int, left: int, fragile: bool = False) -> float:
    """Expected earnings of the best policy with so much energy and ``left`` slots to go (dynamic programming)."""
    if left == 0:
        return 0.0
    return max(REWARDS[energy] + _next(0, left - 1, fragile), _next(energy, left - 1, fragile))


def planner(obs: Obs, horizon: int, fragile: bool = False) -> Tensor:
    """The best policy's actions, shape (batch,), int64."""
    rows = zip(obs["energy"].tolist(), obs["slot"].tolist(), strict=True)
    return torch.tensor([int(_sends(energy, horizon - slot, fragile)) for energy, slot in rows])


def _sends(energy: int, left: int, fragile: bool) -> bool:
    return left > 0 and REWARDS[energy] + _next(0, left - 1, fragile) >= _next(energy, left - 1, fragile)


def _next(energy: int, left: int, fragile: bool) -> float:
    full = len(REWARDS) - 1
    after = [min(energy + arrived, full) for arrived in (0, 1)]
    values = [0.0 if fragile and level == full else value(level, left, fragile) for level in after]
    return (1 - ARRIVAL) * values[0] + ARRIVAL * values[1]


class Saver(LearnedAgent):
    """A table: logits of waiting and sending for every slot and energy."""

    tasks: ClassVar[tuple[str, ...]] = ("battery",)

    def build(self, task: Any) -> torch.nn.Module:
        return torch.nn.Embedding(task.horizon * len(REWARDS), 2)

    def policy(self, task: Any, obs: Obs) -> Tensor:
        logits: Tensor = self.weights(task)(obs["slot"] * len(REWARDS) + obs["energy"])
        return logits
