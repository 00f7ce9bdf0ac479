"""Inner-loop link adaptation: believe the report, and take the highest scheme that it allows.

Source: 3GPP TS 38.214, section 5.2.2.1, which defines a CQI by the scheme that it allows at block error rate 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.link.abstraction import curves
from wirelessgym.spec import TaskSpec

from ._link import highest_mcs, refuse_bad_target, reported_sinr_db


@dataclass(frozen=True)
class ILLA(Agent):
    """Pick the highest MCS whose block error rate at the reported SINR stays within a target.

    A report is taken for the lowest SINR that it stands for; that it is old is not accounted for.

    Args:
        target: block error rate of first transmissions.

    Raises:
        ValueError: for a target outside (0, 1).
    """

    target: float = 0.1
    tasks = ("link_adaptation",)

    def __post_init__(self) -> None:
        refuse_bad_target(self.target)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the MCS, shape (batch,), int64."""
        size: int = task.resource_elements
        return highest_mcs(curves(size), reported_sinr_db(obs["cqi"], size), self.target)
