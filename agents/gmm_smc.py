"""Detection with a channel that is known badly: its posterior under a Gaussian mixture, then `smc`.

The mixture is that of `gmm_wmmse`, fitted to training episodes. It says which channels are likely, which takes most of the error
out of the estimate. The error that is left has a covariance: it makes noise where the array hears the users, and the received
vectors are whitened before they are searched. That all slots of an episode share the error is not used.

Sources: Koller, Fesl, Turan, Utschick, "An asymptotically MSE-optimal estimator based on Gaussian mixture models", IEEE Trans.
Signal Process. 70, 2022 (arXiv 2111.11064), eqs. (22) to (24); the error as noise: Hassibi, Hochwald, "How much training is
needed in multiple-antenna wireless links?", IEEE Trans. Inf. Theory 49(4), 2003, section II.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from wirelessgym.agent import Agent, Training
from wirelessgym.arrays import to_beams
from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from .gmm_wmmse import GMMWMMSE
from .smc import SMC

LEAST_NOISE = 1e-6  # relative to the channel's power per entry; below, the covariance may be singular in single precision


@dataclass(frozen=True)
class GMMSMC(Agent):
    """Detect as `smc` does, with the channel's posterior under a mixture. With a known channel it is `smc`.

    Args:
        mixture: checkpoint of `gmm_wmmse`: a folder, or "shipped".
        paths: of the search.
        soft: whether symbols are posterior means (small error) or the likeliest points (few symbol errors).

    Raises:
        ValueError: for fewer than one path.
    """

    mixture: str = "shipped"
    paths: int = 256
    soft: bool = True
    tasks = ("detection",)
    only_when_named = True
    training: ClassVar[Training] = "fitted"

    def __post_init__(self) -> None:
        SMC(self.paths)

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return symbols, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: if the noise power is hidden.
        """
        search = SMC(self.paths, self.soft)
        if "csi_noise_power" not in obs or "noise_power" not in obs:
            return search.act(task, obs)
        panel = task.scenario.panel
        channels = {"csi": obs["csi"].mT.contiguous(), "csi_noise_power": obs["csi_noise_power"]}
        mean, covariance = self._prior.posterior(task, channels)
        return search.act(
            task, whitened(to_beams(obs["received"], panel.rows, panel.columns), mean, covariance, obs["noise_power"])
        )

    @cached_property
    def _prior(self) -> GMMWMMSE:
        return GMMWMMSE(checkpoint=self.mixture)

    @property
    def num_parameters(self) -> int:
        """Numbers of the mixtures."""
        return self._prior.num_parameters

    @property
    def fingerprint(self) -> str:
        """Of the mixtures."""
        return self._prior.fingerprint


def whitened(received: Tensor, mean: Tensor, covariance: Tensor, noise_power: Tensor) -> Obs:
    """Return an observation with a known channel and noise of power one, which tells of the symbols what an uncertain one tells.

    The channels' errors times symbols of unit energy count as Gaussian noise: y = (mean + error) x + noise.

    Args:
        received: shape (batch, slots, antennas).
        mean: of the users' channels, shape (batch, users, antennas).
        covariance: of their errors, shape (batch, users, antennas, antennas).
        noise_power: shape (batch,).
    """
    least = LEAST_NOISE * mean.abs().square().flatten(1).mean(-1)
    identity = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
    noise = covariance.sum(1) + torch.maximum(noise_power, least)[:, None, None] * identity
    factor = torch.linalg.cholesky(noise)
    unmixed = torch.linalg.solve_triangular(factor, torch.cat([received.mT, mean.mT], -1), upper=False)
    slots = received.shape[1]
    return {"received": unmixed[..., :slots].mT, "csi": unmixed[..., slots:], "noise_power": torch.ones_like(noise_power)}
