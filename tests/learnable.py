"""A small agent that learns fast: powers and regularisations of the optimal precoder's structure, from a few numbers per user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from wirelessgym.capacity import structured_precoder
from wirelessgym.checkpoint import CheckpointError
from wirelessgym.fields import Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.task import Task

if TYPE_CHECKING:
    from pathlib import PurePath


@dataclass(eq=False, kw_only=True)
class Learnable(LearnedAgent):
    """Two numbers per user from its gain and how much others are like it. With dropout, so that randomness counts."""

    hidden: int = 16
    dropout: float = 0.1

    tasks: ClassVar[tuple[str, ...]] = ("precoding",)

    def build(self, task: Task) -> nn.Module:
        return nn.Sequential(
            nn.Linear(3, self.hidden), nn.SiLU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, 2, bias=False)
        )

    def forward(self, task: Task, obs: Obs) -> Tensor:
        csi = obs["csi"]
        gram = (csi @ csi.mH).abs().square()
        gain = csi.abs().square().sum(-1)
        snr = (obs["tx_power"] / obs["noise_power"])[:, None]
        leakage = (gram.sum(-1) - gram.diagonal(dim1=-2, dim2=-1)) / gain * snr
        share = gain / gain.sum(-1, keepdim=True)
        numbers = torch.stack([gain * snr, leakage, share], -1).log()
        # Ten times too loud at first: there is something to learn.
        power, regularisation = (self.weights(task)(numbers) * 10).softmax(1).unbind(-1)
        return structured_precoder(csi, power, regularisation, obs["noise_power"], obs["tx_power"])


@dataclass(eq=False, kw_only=True)
class Limited(Learnable):
    """With an option that may be None, and isn't by default, and a word that may not."""

    limit: int | None = 6
    word: str = "some"


@dataclass(eq=False, kw_only=True)
class Untold(Limited):
    """With an option whose type only a type checker knows."""

    path: PurePath | None = None


@dataclass(eq=False, kw_only=True)
class Based(Learnable):
    """Adds base numbers that its seed draws and no checkpoint holds."""

    def build(self, task: Task) -> nn.Module:
        self.base = torch.rand(3)
        return super().build(task)

    def card(self) -> dict[str, Any]:
        return {"base": self.base.tolist()}

    def check_card(self, card: Mapping[str, Any]) -> None:
        if card["base"] != self.card()["base"]:
            raise CheckpointError("expected other base numbers")


@dataclass(eq=False, kw_only=True)
class NeverFinite(Learnable):
    """Its loss isn't a number from a share of the training on."""

    after: float = 0.0

    def loss(self, task: Task, state: object, obs: Obs, progress: float = 1.0) -> Tensor:
        loss = super().loss(task, state, obs, progress)
        return loss * torch.nan if progress >= self.after else loss
