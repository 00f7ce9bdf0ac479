"""A genie of link adaptation: it knows the SINR of the present slot, but not the coin that decides on the block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.link.mcs import LOWEST_MCS
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task


@dataclass(frozen=True)
class GenieMCS(Agent):
    """Pick the MCS of most goodput, were the present channel to last.

    A block of b bits that is lost with probability p_n after n transmissions delivers ``b (1 - p_4)`` bits in
    ``1 + p_1 + p_2 + p_3`` slots on average; their ratio is what is made large. Known block error rates of the true channel, no
    delay and no quantisation: what better reports could give. It is no bound, as it doesn't know what comes next.

    Args:
        retransmissions: whether it reckons with them; without, the goodput of the first transmission alone is made large.
    """

    retransmissions: bool = True
    tasks = ("link_adaptation",)
    needs_state = True

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Refuse: without the state it knows nothing.

        Raises:
            TypeError: always.
        """
        raise TypeError("genie_mcs: a genie acts on the true state, see act_on_state")

    def act_on_state(self, task: Task, state: Any, obs: Obs) -> Tensor:
        """Return the MCS, shape (batch,), int64."""
        count: int = task.max_transmissions if self.retransmissions else 1  # type: ignore[attr-defined]
        lost = torch.stack([task.block_error_rate(state, n) for n in range(1, count + 1)])  # type: ignore[attr-defined]
        lost = lost.cummin(0).values
        bits: Tensor = task.curves.bits  # type: ignore[attr-defined]
        return (bits * (1 - lost[-1]) / (1 + lost[:-1].sum(0))).argmax(-1) + LOWEST_MCS
