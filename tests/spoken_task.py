"""A task with words: answer yes or no per number, as the row's text asks. Texts differ between the rows of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wirelessgym.fields import Action, Field, Obs
from wirelessgym.metrics import Metric
from wirelessgym.task import State, Task

PHRASES = ("pick the largest", "pick the smallest", "take the top one", "the lowest, please")
WANTS_LARGEST = (True, False, True, False)
NUMBERS = 3


@dataclass(frozen=True)
class SpokenState(State):
    numbers: Tensor
    wish: tuple[str, ...]


@dataclass(frozen=True)
class Spoken(Task):
    """Pick the number that is asked for."""

    id = "spoken"
    default_scenario = "rayleigh-32"
    metrics = (Metric("hit", "1", True, "share of the pick that lies on the right number", "definition"),)
    differentiable = True

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        return (
            Field("numbers", (NUMBERS,), "float32", "1", -9, 9, "numbers to choose from"),
            Field("wish", (), "text", "1", 1, 40, "what is asked for"),
        )

    @property
    def action_fields(self) -> tuple[Field, ...]:
        return (Field("pick", (NUMBERS,), "float32", "1", 0, 1, "share of each number"),)

    def reset(self, episodes: Sequence[int], seed: int | Sequence[int] = 0) -> tuple[SpokenState, Obs]:
        seeds = [seed] * len(episodes) if isinstance(seed, int) else list(seed)
        generators = [torch.Generator().manual_seed(1000 * s + n) for s, n in zip(seeds, episodes, strict=True)]
        state = SpokenState(
            seed=torch.tensor(seeds),
            episode=torch.tensor(list(episodes)),
            time_step=torch.zeros(len(seeds), dtype=torch.int64),
            numbers=torch.stack([torch.randn(NUMBERS, generator=generator) for generator in generators]).clamp(-9, 9),
            wish=tuple(PHRASES[int(torch.randint(len(PHRASES), (), generator=generator))] for generator in generators),
        )
        return state, self.observe(state)

    def observe(self, state: SpokenState) -> Obs:
        return {"numbers": state.numbers, "wish": state.wish}

    def score(self, state: SpokenState, action: Action) -> dict[str, Tensor]:
        pick = self.check_action(action, len(state.seed))["pick"]
        sign = torch.tensor([1.0 if WANTS_LARGEST[PHRASES.index(wish)] else -1.0 for wish in state.wish])
        wanted = (sign[:, None] * state.numbers).argmax(-1, keepdim=True)
        return {"hit": (pick / pick.sum(-1, keepdim=True).clamp_min(1e-6)).gather(1, wanted)[:, 0]}

    def advance(self, state: SpokenState, action: Action | None = None) -> tuple[SpokenState, Obs]:
        following = replace(state, time_step=state.time_step + 1, numbers=state.numbers.roll(1, -1))
        return following, self.observe(following)

    def render(self, state: Any, action: Action | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.zeros((4, 4, 3), np.uint8)
