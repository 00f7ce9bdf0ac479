"""One modulation and coding scheme for ever: the floor of link adaptation."""

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
        mcs: 3 to 28; 10 is the lowest of 16-QAM.

    Raises:
        ValueError: for an MCS out of range.
    """

    mcs: int = 10
    tasks = ("link_adaptation",)

    def __post_init__(self) -> None:
        if not LOWEST_MCS <= self.mcs <= HIGHEST_MCS:
            raise ValueError(f"mcs: expected {LOWEST_MCS} to {HIGHEST_MCS}, got {self.mcs}")

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the MCS, shape (batch,), int64."""
        return torch.full_like(obs["cqi"], self.mcs)
