"""Maximum-ratio transmission: each user's beam follows its own channel, regardless of the others.

Source: Lo, "Maximum ratio transmission", IEEE Trans. Commun. 47(10), 1999.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.capacity import unit_rows
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._linear import equal_power


@dataclass(frozen=True)
class MRT(Agent):
    """Precode with ``w_k`` along ``h_k``, equal power per user."""

    tasks = ("precoding",)

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``."""
        return equal_power(unit_rows(obs["csi"]), obs["tx_power"])
