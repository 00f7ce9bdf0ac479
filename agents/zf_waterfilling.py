"""Zero-forcing with water-filling: no interference, and the powers that maximise the sum rate.

Source: Yoo, Goldsmith, "On the optimality of multiantenna broadcast scheduling using zero-forcing beamforming", IEEE
J. Sel. Areas Commun. 24(3), 2006.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wirelessgym.agent import Agent
from wirelessgym.capacity import amplitudes, water_filling
from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import fold_subcarriers, unfold_subcarriers

from ._linear import regularised_directions, require_antennas


@dataclass(frozen=True)
class ZFWaterfilling(Agent):
    """Zero-forcing directions ``u_k``, powers that maximise ``sum_k log(1 + p_k |h_k^H u_k|^2 / noise_power)``.

    Args:
        across_subcarriers: whether subcarriers share the power as they can use it best, or each gets the same.
    """

    across_subcarriers: bool = False
    tasks = ("precoding",)

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Several subcarriers are an axis behind the batch, and ``tx_power`` is what they spend together.

        Raises:
            ValueError: with more users than antennas.
        """
        _, each = fold_subcarriers(task, obs)
        csi, tx_power = each["csi"], each["tx_power"]
        require_antennas(csi, "zero-forcing")
        directions = regularised_directions(csi, torch.zeros_like(tx_power))
        gains = (csi.conj() * directions).sum(-1).abs().square() / each["noise_power"][:, None]
        if self.across_subcarriers:
            tx_power = obs["tx_power"]
        power = water_filling(gains.view(len(tx_power), -1), tx_power).view(gains.shape)
        return unfold_subcarriers(task, directions * amplitudes(power)[..., None])
