"""A task small enough to know by heart: guess symbols seen through noise. Rows end at different times when asked to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wirelessgym.fields import Action, Field, Obs
from wirelessgym.metrics import Metric
from wirelessgym.task import State, Task

USERS = 3


@dataclass(frozen=True)
class ToyState(State):
    symbols: Tensor  # hidden
    received: Tensor
    noise_power: Tensor


@dataclass(frozen=True)
class Toy(Task):
    early_end: bool = False
    two_entries: bool = False

    id = "toy"
    default_scenario = "rayleigh-32"
    metrics = (Metric("nmse", "1", False, "|e|^2 / |s|^2", "definition"),)
    differentiable = True
    drawn = []  # noqa: RUF012 (number of episodes of every call of reset, for tests)

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return (
            Field("received", (USERS,), "complex64", "1", -20, 20, "noisy symbols"),
            Field("noise_power", (), "float32", "W", 0, 1, "noise power"),
            Field("mask", (USERS,), "bool", "1", 0, 1, "users that are there"),
            Field("slot", (), "int64", "1", 0, 1000, "time step"),
        )

    @property
    def action_fields(self) -> tuple[Field, ...]:
        symbols = Field("symbols", (USERS,), "complex64", "1", -3, 3, "guess")
        return (symbols, Field("trust", (USERS,), "float32", "1", 0, 1, "unused")) if self.two_entries else (symbols,)

    def reset(self, episodes: Sequence[int], seed: int | Sequence[int] = 0) -> tuple[ToyState, Obs]:
        self.drawn.append(len(episodes))
        seeds = [seed] * len(episodes) if isinstance(seed, int) else list(seed)
        noise, symbols = [], []
        for s, n in zip(seeds, episodes, strict=True):
            generator = torch.Generator().manual_seed(1000 * s + n)
            symbols.append(torch.randn(USERS, generator=generator, dtype=torch.complex64))
            noise.append(0.1 * torch.randn(USERS, generator=generator, dtype=torch.complex64))
        true = torch.stack(symbols)
        state = ToyState(
            seed=torch.tensor(seeds),
            episode=torch.tensor(list(episodes)),
            time_step=torch.zeros(len(seeds), dtype=torch.int64),
            symbols=true,
            received=true + torch.stack(noise),
            noise_power=torch.full((len(seeds),), 0.01),
        )
        return state, self.observe(state)

    def observe(self, state: ToyState) -> Obs:
        mask = torch.ones(len(state.seed), USERS, dtype=torch.bool)
        return {"received": state.received, "noise_power": state.noise_power, "mask": mask, "slot": state.time_step}

    def score(self, state: ToyState, action: Action) -> dict[str, Tensor]:
        guess = self.check_action(action, len(state.seed))["symbols"]
        error = (guess - state.symbols).abs().square()
        return {"nmse": error.sum(-1) / state.symbols.abs().square().sum(-1), "error": error}

    def advance(self, state: ToyState, action: Action | None = None) -> tuple[ToyState, Obs]:
        following = ToyState(
            seed=state.seed,
            episode=state.episode,
            time_step=state.time_step + 1,
            symbols=state.symbols.roll(1, -1),
            received=state.received.roll(1, -1),
            noise_power=state.noise_power,
        )
        return following, self.observe(following)

    def terminated(self, state: ToyState) -> Tensor:
        return (state.time_step > (state.seed + state.episode) % 4) & torch.tensor(self.early_end)

    def render(self, state: Any, action: Action | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.full((4, 4, 3), 0 if action is None else 255, np.uint8)
