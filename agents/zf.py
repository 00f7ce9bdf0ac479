"""Zero-forcing: invert the channel, so that users don't interfere with each other.

Sources: downlink, Yoo, Goldsmith, "On the optimality of multiantenna broadcast scheduling using zero-forcing
beamforming", IEEE J. Sel. Areas Commun. 24(3), 2006; uplink, Tse, Viswanath, "Fundamentals of Wireless
Communication", 2005, section 8.3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import answer, noise_power_of, transposed, wants_llrs, zero_forcing
from ._linear import equal_power, regularised_directions, require_antennas


@dataclass(frozen=True)
class ZF(Agent):
    """Downlink: directions of the pseudo-inverse, equal power per user. Uplink: the pseudo-inverse of the channel."""

    tasks = ("precoding", "detection")

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Precode or detect.

        Returns:
            Precoding: shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``. Detection: symbol
            estimates, shape (batch, slots, users), complex64, and log-likelihood ratios where the task asks for them.

        Raises:
            ValueError: with more users than antennas, or if ratios are asked for and the noise power is hidden.
        """
        if "received" not in obs:
            csi, tx_power = obs["csi"], obs["tx_power"]
            require_antennas(csi, "zero-forcing")
            return equal_power(regularised_directions(csi, torch.zeros_like(tx_power)), tx_power)
        require_antennas(transposed(obs), "zero-forcing")
        estimate, noise_gain = zero_forcing(obs)
        if not wants_llrs(task):
            return estimate
        variance = noise_gain * noise_power_of(obs, "zf's log-likelihood ratios")[:, None]
        return answer(task, estimate, estimate, variance[:, None])
