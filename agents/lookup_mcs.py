"""Link adaptation by a table: for each report, the scheme that delivered most on training episodes.

A block of b bits that is lost with probability p_n after n transmissions takes ``1 + p_1 + p_2 + p_3`` slots on average and
delivers ``b (1 - p_4)`` bits. Summed over all training slots in which a report arrives, the ratio of the two is the goodput of a
scheme after that report, with its age, its rounding and retransmissions accounted for.

Source: the renewal-reward theorem as Zorzi and Rao apply it to retransmissions, "On the use of renewal theory in the analysis of
ARQ protocols", IEEE Trans. Commun. 44(9), 1996.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from wirelessgym.agent import Agent, Training
from wirelessgym.fields import Obs
from wirelessgym.link.mcs import HIGHEST_MCS, LOWEST_MCS
from wirelessgym.rollouts import Rollout
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

REPORTS = 16  # CQI 0 to 15


@dataclass(frozen=True)
class LookupMCS(Agent):
    """Pick the MCS that stands in a table for the latest report.

    Args:
        table: MCS for CQI 0 to 15; the default is `fitted` on episodes 0 to 511 of seed 2^61 + 9 of the default task.

    Raises:
        ValueError: for another number of entries than 16, or an MCS out of range.
    """

    table: tuple[int, ...] = (5, 5, 6, 9, 13, 16, 16, 23, 25, 27, 28, 28, 21, 23, 23, 24)
    tasks = ("link_adaptation",)
    training: ClassVar[Training] = "fitted"

    def __post_init__(self) -> None:
        if len(self.table) != REPORTS or not all(LOWEST_MCS <= mcs <= HIGHEST_MCS for mcs in self.table):
            raise ValueError(f"table: expected {REPORTS} schemes from {LOWEST_MCS} to {HIGHEST_MCS}, got {self.table}")

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the MCS, shape (batch,), int64."""
        return torch.tensor(self.table, device=obs["cqi"].device)[obs["cqi"]]


def fitted(task: Task, episodes: range, seed: int) -> tuple[int, ...]:
    """Return the best table on some episodes; reports that never arrive get the MCS of the next lower one that does.

    Args:
        task: link adaptation.
        episodes: their numbers.
        seed: their seed; those of training are 2^61 and above.
    """
    state, obs = task.reset(episodes, seed)
    bits, most = task.curves.bits, task.spec.max_transmissions  # type: ignore[attr-defined]
    delivered, slots = (torch.zeros(REPORTS, len(bits)) for _ in range(2))
    rollout, lowest = Rollout(task, state, obs), torch.full_like(state.episode, LOWEST_MCS)  # no action changes what arrives
    while bool(rollout.live.any()):
        losses = [task.block_error_rate(rollout.state, count) for count in range(1, most + 1)]  # type: ignore[attr-defined]
        lost = torch.stack(losses).cummin(0).values
        delivered.index_add_(0, rollout.obs["cqi"], bits * (1 - lost[-1]))
        slots.index_add_(0, rollout.obs["cqi"], 1 + lost[:-1].sum(0))
        rollout.step(lowest)
    table = [LOWEST_MCS] * REPORTS
    for report in range(REPORTS):
        seen = bool(slots[report].any())
        table[report] = int((delivered[report] / slots[report]).argmax()) + LOWEST_MCS if seen else table[max(report - 1, 0)]
    return tuple(table)
