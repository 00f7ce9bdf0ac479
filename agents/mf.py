"""Matched filter: combine along each user's own channel; the other users count as noise.

Source: Tse, Viswanath, "Fundamentals of Wireless Communication", 2005, section 8.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import answer, matched, noise_power_of, wants_llrs


@dataclass(frozen=True)
class MF(Agent):
    """Detect with ``h_k^H y / |h_k|^2``: without the others, symbol plus noise. The noise power isn't needed."""

    tasks = ("detection",)

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return symbol estimates, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: if ratios are asked for and the noise power is hidden.
        """
        csi = obs["csi"]
        energy = csi.abs().square().sum(-2)
        energy = torch.where(energy > 0, energy, torch.ones_like(energy))  # a user without a channel: nothing collected
        estimate = matched(obs) / energy[:, None]
        if not wants_llrs(task):
            return estimate
        coupling = (csi.mH @ csi).abs().square()
        interference = (coupling - torch.diag_embed(coupling.diagonal(dim1=-2, dim2=-1))).sum(-1) / energy.square()
        noise = noise_power_of(obs, "mf's log-likelihood ratios")[:, None] / energy
        return answer(task, estimate, estimate, (interference + noise)[:, None])
