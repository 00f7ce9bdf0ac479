"""OAMP-Net and OAMP-Net2: orthogonal approximate message passing with a few learned scalars per layer.

Sources: He, Wen, Jin, Li, "A model-driven deep learning network for MIMO detection", IEEE GlobalSIP, 2018 (OAMP-Net: step size
and error variance are learned); He, Wen, Jin, Li, "Model-driven deep learning for MIMO detection", IEEE Trans. Signal Process.
68, 2020 (OAMP-Net2: the denoiser's output is learned too).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from wirelessgym.fields import Action, Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.modulation import posterior_mean_variance
from wirelessgym.options import require_at_least_one
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import answer, matched, noise_power_of, points_of
from ._linear import active_users
from .oamp import decorrelated_spectrum, error_variance, filtered_variance


@dataclass(eq=False, kw_only=True)
class OAMPNet(LearnedAgent):
    """Detect with OAMP whose scalars are learned. Fresh weights are plain OAMP's without the divergence-free denoiser.

    Layer t forms ``r = x + gamma_t W z`` and takes its error variance from ``B = I - theta_t W H`` and ``theta_t W``. The next
    x is the posterior mean ``eta`` given r (version 1), or ``phi_t (eta - xi_t r)`` (version 2). The loss is the squared error of
    the last layer. The weights fit any number of users, antennas and points.

    Args:
        layers: number of layers; the sources take 4 to 10.
        version: 1 for OAMP-Net (gamma, theta), 2 for OAMP-Net2 (phi and xi as well).

    Raises:
        ValueError: for an option out of range.
    """

    layers: int = 10
    version: Literal[1, 2] = 1
    tasks = ("detection",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_one(self, "layers")
        if self.version not in (1, 2):
            raise ValueError(f"version: expected 1 (OAMP-Net) or 2 (OAMP-Net2), got {self.version!r}")

    def build(self, task: TaskSpec) -> nn.Module:
        """Return the scalars that change nothing: ones, and zeros for xi."""
        names = {"gamma": 1.0, "theta": 1.0} | ({"phi": 1.0, "xi": 0.0} if self.version == 2 else {})
        return nn.ParameterDict({name: torch.full((self.layers,), value) for name, value in names.items()})

    @over_subcarriers
    def forward(self, task: TaskSpec, obs: Obs) -> Action:
        """Return symbol estimates, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: if the noise power is hidden.
        """
        scalars = dict(self.weights(task).named_parameters())
        points = points_of(task, obs["received"])
        noise_power = noise_power_of(obs, self.name)[:, None, None]
        users = active_users(obs["csi"].mT)[:, None].sum(-1, keepdim=True)
        eigenvalues, vectors = torch.linalg.eigh(obs["csi"].mH @ obs["csi"])
        eigenvalues = eigenvalues.clamp_min(0)[:, None]
        collected = matched(obs) @ vectors.conj()
        mean = torch.zeros_like(collected)
        for layer in range(self.layers):
            variance = error_variance(obs, mean, noise_power, eigenvalues)
            spectrum = decorrelated_spectrum(eigenvalues, noise_power / variance, users)
            innovation = collected - (mean @ vectors.conj()) * eigenvalues
            observation = mean + (scalars["gamma"][layer] * spectrum * innovation) @ vectors.mT
            spread = filtered_variance(eigenvalues, scalars["theta"][layer] * spectrum, variance, noise_power, users)
            mean, _ = posterior_mean_variance(observation, spread, points)
            if self.version == 2:
                mean = scalars["phi"][layer] * (mean - scalars["xi"][layer] * observation)
        return answer(task, mean, observation, spread)
