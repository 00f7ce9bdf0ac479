"""Sample and hold: the channel is assumed to stay as last seen.

What a system without prediction does; its error is ``2 - 2 Re r_l`` plus the noise at lag l of correlation r.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._prediction import num_future


@dataclass(frozen=True)
class Hold(Agent):
    """Repeat the last noisy slot."""

    tasks = ("channel_prediction",)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64: a view of the last slot."""
        return obs["csi"][:, -1:].expand(-1, num_future(task), -1, -1)
