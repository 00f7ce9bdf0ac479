"""Outer-loop link adaptation: correct the reported SINR by what became of earlier transmissions.

Every lost first transmission raises an offset that is taken off the reported SINR by ``step_db``; every decoded one lowers it by
``step_db target / (1 - target)``, so that the offset rests where the share of lost ones is the target.

Source: Sampath, Kumar, Holtzman, "On setting reverse link target SIR in a CDMA system", IEEE VTC 1997 (the ratio of steps);
Pedersen et al., "Frequency domain scheduling for OFDMA with limited and noisy channel feedback", IEEE VTC 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.link.abstraction import curves
from wirelessgym.spec import TaskSpec

from ._link import highest_mcs, refuse_bad_target, reported_sinr_db


@dataclass(eq=False)
class OLLA(Agent):
    """Pick the highest MCS that the reported SINR, less an offset learned from acknowledgements, allows.

    Args:
        step_db: by how much a lost first transmission raises the offset, dB. Step and target are the best of nine pairs on
            training episodes of the default task at 10 to 100 km/h.
        target: share of first transmissions that may be lost.
        largest_offset_db: the offset stays within plus and minus this.

    Raises:
        ValueError: for a target outside (0, 1), or a step or largest offset that isn't positive.
    """

    step_db: float = 0.1
    target: float = 0.1
    largest_offset_db: float = 20.0
    tasks = ("link_adaptation",)

    def __post_init__(self) -> None:
        refuse_bad_target(self.target)
        if not (self.step_db > 0 and self.largest_offset_db > 0):
            raise ValueError(f"step_db, largest_offset_db: expected above 0, got {self.step_db}, {self.largest_offset_db}")
        self.reset(0)

    def reset(self, batch: int) -> None:
        """Start with no offset."""
        self.offset_db = torch.zeros(batch)
        self._first = torch.zeros(batch, dtype=torch.bool)  # whether the last slot held a first transmission

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the MCS, shape (batch,), int64.

        Raises:
            ValueError: for another number of rows than `reset` was told.
        """
        feedback = obs["feedback"]
        if len(feedback) != len(self.offset_db):
            raise ValueError(f"olla: expected {len(self.offset_db)} rows, as reset() was told, got {len(feedback)}")
        lost, decoded = self._first & (feedback == 0), self._first & (feedback == 1)
        step_down_db = self.step_db * self.target / (1 - self.target)
        offset_db = self.offset_db + self.step_db * lost - step_down_db * decoded
        self.offset_db = offset_db.clamp(-self.largest_offset_db, self.largest_offset_db)
        self._first = obs["transmissions"] == 0
        size: int = task.resource_elements
        return highest_mcs(curves(size), reported_sinr_db(obs["cqi"], size) - self.offset_db, self.target)
