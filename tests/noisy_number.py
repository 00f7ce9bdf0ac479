"""A task whose results are known in closed form: guess standard normal numbers x from y = x + n.

The normalised squared error is the noise power for a guess of y, and noise / (1 + noise) for the conditional mean.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Field, Obs
from wirelessgym.metrics import Metric
from wirelessgym.spec import TaskSpec
from wirelessgym.task import State, Task

NUMBERS = 4


@dataclass(frozen=True)
class NumberState(State):
    x: Tensor
    n: Tensor


@dataclass(frozen=True)
class NoisyNumber(Task):
    noise: float = 0.5
    broken_metric: bool = False

    id = "noisy_number"
    default_scenario = "rayleigh-32"
    metrics = (
        Metric("nmse", "1", False, "|e|^2 / |x|^2", "definition", ratio=("squared_error", "energy")),
        Metric("nmse_db", "dB", False, "10 log10 nmse", "definition", ratio=("squared_error", "energy"), decibel=True),
        Metric("bias", "1", False, "mean error", "definition"),
        Metric("first_two", "1", True, "x_0, x_1; the second where x_0 > 0", "definition"),
        Metric("llr", "1", True, "only in another mode", "definition"),
    )
    differentiable = True

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return (Field("y", (NUMBERS,), "float32", "1", -20, 20, "noisy numbers"),)

    @property
    def action_fields(self) -> tuple[Field, ...]:
        return (Field("guess", (NUMBERS,), "float32", "1", -20, 20, "guess"),)

    def reset(self, episodes: Sequence[int], seed: int | Sequence[int] = 0) -> tuple[NumberState, Obs]:
        seeds = [seed] * len(episodes) if isinstance(seed, int) else list(seed)
        drawn = torch.stack(
            [
                torch.randn(2, NUMBERS, generator=torch.Generator().manual_seed(100_000 * s + n))
                for s, n in zip(seeds, episodes, strict=True)
            ]
        )
        state = NumberState(
            seed=torch.tensor(seeds),
            episode=torch.tensor(list(episodes)),
            time_step=torch.zeros(len(seeds), dtype=torch.int64),
            x=drawn[:, 0],
            n=drawn[:, 1] * self.noise**0.5,
        )
        return state, self.observe(state)

    def observe(self, state: NumberState) -> Obs:
        return {"y": state.x + state.n if self.noise else state.x}

    def score(self, state: NumberState, action: Action) -> dict[str, Tensor]:
        return self.scored(state, self.check_action(action, len(state.seed))["guess"] - state.x)

    def advance(self, state: NumberState, action: Action | None = None) -> tuple[NumberState, Obs]:
        following = replace(state, time_step=state.time_step + 1, x=state.x.roll(1, -1), n=state.n.roll(1, -1))
        return following, self.observe(following)

    def scored(self, state: NumberState, error: Tensor) -> dict[str, Tensor]:
        squared, energy = error.square().sum(-1), state.x.square().sum(-1)
        second = torch.where(state.x[:, 0] > 0, state.x[:, 1], torch.nan)
        bias = error.mean(-1)
        return {
            "nmse": squared / energy,
            "nmse_db": 10 * torch.log10(squared / energy),
            "squared_error": squared,
            "energy": energy,
            "bias": torch.where(state.episode == 3, torch.nan, bias) if self.broken_metric else bias,
            "first_two": torch.stack([state.x[:, 0], second], -1),
        }

    def bound_metrics(self, state: NumberState) -> dict[str, Tensor]:
        return self.scored(state, state.n / 4)

    def render(self, state: Any, action: Action | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True)
class Shrink(Agent):
    factor: float = 1.0

    def act(self, task: Task, obs: Obs) -> Tensor:
        return self.factor * obs["y"]


def echo(obs: Obs) -> Tensor:
    return obs["y"]


def broken(obs: Obs) -> Tensor:
    raise RuntimeError("no idea what to guess")


@dataclass(frozen=True)
class Moody(Agent):
    """Fails while a file is there."""

    trouble: str

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        if Path(self.trouble).exists():
            raise RuntimeError("not today")
        return obs["y"]


def not_a_number(obs: Obs) -> Tensor:
    return obs["y"] * torch.nan


def zero_in_place(obs: Obs) -> Tensor:
    return obs["y"].zero_()


def slow(obs: Obs) -> Tensor:
    time.sleep(0.06)
    return 100 * obs["y"]
