"""One modulation and coding scheme for ever: what link adaptation has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.link.mcs import HIGHEST_MCS, LOWEST_MCS
from wirelessgym.spec import TaskSpec


@dataclass(frozen=True)
class FixedMCS(Agent):
    """Send with the same MCS in every slot.

    Args:
        mcs: 3 to 28; the default is the best one on training episodes of the default task at 10 to 100 km/h.

    Raises:
        ValueError: for an MCS out of range.
    """

    mcs: int = 20
    tasks = ("link_adaptation",)

    def __post_init__(self) -> None:
        if not LOWEST_MCS <= self.mcs <= HIGHEST_MCS:
            raise ValueError(f"mcs: expected {LOWEST_MCS} to {HIGHEST_MCS}, got {self.mcs}")

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the MCS, shape (batch,), int64."""
        return torch.full_like(obs["cqi"], self.mcs)
