"""Zero-forcing with water-filling: no interference, and power where it earns most.

Source: Yoo, Goldsmith, "On the optimality of multiantenna broadcast scheduling using zero-forcing beamforming", IEEE
J. Sel. Areas Commun. 24(3), 2006.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.capacity import amplitudes, water_filling
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._linear import regularised_directions, require_antennas


@dataclass(frozen=True)
class ZFWaterfilling(Agent):
    """Zero-forcing directions ``u_k``, powers that maximise ``sum_k log(1 + p_k |h_k^H u_k|^2 / noise_power)``."""

    tasks = ("precoding",)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Raises:
            ValueError: with more users than antennas.
        """
        csi, tx_power = obs["csi"], obs["tx_power"]
        require_antennas(csi, "zero-forcing")
        directions = regularised_directions(csi, torch.zeros_like(tx_power))
        gains = (csi.conj() * directions).sum(-1).abs().square() / obs["noise_power"][:, None]
        return directions * amplitudes(water_filling(gains, tx_power))[..., None]
