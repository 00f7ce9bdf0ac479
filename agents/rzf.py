"""Regularised zero-forcing: the linear precoder between matched filtering and zero-forcing.

Source: Peel, Hochwald, Swindlehurst, "A vector-perturbation technique for near-capacity multiantenna multiuser
communication, part I: channel inversion and regularization", IEEE Trans. Commun. 53(1), 2005, section III.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._linear import (
    active_users,
    equal_power,
    mmse_loading,
    regularised_directions,
    require_antennas,
    wants_structure,
)


@dataclass(frozen=True)
class RZF(Agent):
    """Precode with ``w_k`` along row k of ``(H H^H + a I)^-1 H``, H = csi, equal power per user.

    Args:
        regulariser: ``a``, in units of users times noise power over transmit power; 1 is the choice of least mean
            square error, 0 is zero-forcing (needs at least as many antennas as users), large values tend to
            maximum-ratio transmission.

    Raises:
        ValueError: for a negative regulariser.
    """

    regulariser: float = 1.0
    tasks = ("precoding",)

    def __post_init__(self) -> None:
        if not self.regulariser >= 0:
            raise ValueError(f"regulariser: expected a number >= 0, got {self.regulariser}")

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Where the task asks for the structure, return equal shares of power and regularisation, shape (batch, users, 2):
        the same precoder.

        Raises:
            ValueError: for ``regulariser=0`` with more users than antennas, or a structure with another than 1.
        """
        csi, tx_power = obs["csi"], obs["tx_power"]
        if wants_structure(task):
            if self.regulariser != 1:
                raise ValueError(f"rzf: as a structure the regulariser is 1, got {self.regulariser}")
            return active_users(csi).to(tx_power.dtype)[..., None].expand(-1, -1, 2)
        if self.regulariser == 0:
            require_antennas(csi, "zero-forcing")
        loading = self.regulariser * mmse_loading(csi, obs["noise_power"], tx_power)
        return equal_power(regularised_directions(csi, loading), tx_power)
