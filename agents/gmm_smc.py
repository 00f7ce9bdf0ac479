"""Detection with a channel that is known badly: its posterior under a Gaussian mixture, then `smc`, and both again.

The mixture is that of `gmm_wmmse`, fitted to training episodes. It says which channels are likely, which takes most of the error
out of the estimate. The error that is left has a covariance: it makes noise where the array hears the users, and the received
vectors are whitened before they are searched. All slots share the error, so that in further passes each slot's channels are
estimated anew from the decisions in the others (`agents/_data_aided.py`), and the search is repeated with the smaller error.

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
from wirelessgym.options import require_at_least_one
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._data_aided import told_by_data
from ._detection import from_logits, points_of
from .gmm_wmmse import GMMWMMSE
from .smc import SMC, log_marginals

LEAST_NOISE = 1e-6  # relative to the channel's power per entry; below, the covariance may be singular in single precision


@dataclass(frozen=True)
class GMMSMC(Agent):
    """Detect as `smc` does, with the channel's posterior under a mixture. With a known channel it is `smc`.

    Args:
        mixture: checkpoint of `gmm_wmmse`: a folder, or "shipped".
        paths: of the search.
        passes: searches; 1 leaves unused that the slots share their channels. The default is from training episodes.
        soft: whether symbols are posterior means (small error) or the likeliest points (few symbol errors).

    Raises:
        ValueError: for fewer than one path or pass.
    """

    mixture: str = "shipped"
    paths: int = 256
    passes: int = 3
    soft: bool = True
    tasks = ("detection",)
    training: ClassVar[Training] = "fitted"

    def __post_init__(self) -> None:
        require_at_least_one(self, "paths", "passes")

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return symbols, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: if the noise power is hidden.
        """
        if "csi_noise_power" not in obs or "noise_power" not in obs:
            return SMC(self.paths, self.soft).act(task, obs)
        panel, noise_power, points = task.scenario.panel, obs["noise_power"], points_of(task, obs["received"])
        received = to_beams(obs["received"], panel.rows, panel.columns)
        channels = {"csi": obs["csi"].mT.contiguous(), "csi_noise_power": obs["csi_noise_power"]}
        mean, covariance = self._prior.posterior(task, channels)
        logits = log_marginals(whitened(received, mean, covariance, noise_power), points, self.paths)
        for _ in range(self.passes - 1 if received.shape[1] > 1 else 0):
            decisions = moments(logits, points)
            each, unknown = told_by_data(received, mean, covariance, at_least(noise_power, mean), *decisions)
            logits = log_marginals(whitened_slots(received, each, unknown, noise_power), points, self.paths)
            logits = logits.view(*received.shape[:2], *logits.shape[2:])
        return from_logits(task, logits, points, self.soft)

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
    identity = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
    noise = covariance.sum(1) + at_least(noise_power, mean)[:, None, None] * identity
    factor = torch.linalg.cholesky(noise)
    unmixed = torch.linalg.solve_triangular(factor, torch.cat([received.mT, mean.mT], -1), upper=False)
    slots = received.shape[1]
    return {"received": unmixed[..., :slots].mT, "csi": unmixed[..., slots:], "noise_power": torch.ones_like(noise_power)}


def whitened_slots(received: Tensor, mean: Tensor, unknown: Tensor, noise_power: Tensor) -> Obs:
    """`whitened` for channels that each slot knows on its own: slots become rows of one slot each.

    Args:
        received: shape (batch, slots, antennas).
        mean: shape (batch, slots, users, antennas).
        unknown: what the channels' errors make of unit-energy symbols, shape (batch, slots, antennas, antennas).
        noise_power: shape (batch,).
    """
    each = noise_power.repeat_interleave(received.shape[1])
    return whitened(received.flatten(0, 1)[:, None], mean.flatten(0, 1), unknown.flatten(0, 1)[:, None], each)


def at_least(noise_power: Tensor, mean: Tensor) -> Tensor:
    """The noise power, shape (batch,), or what keeps covariances regular for channels of ``mean``, shape (batch, users, n)."""
    return torch.maximum(noise_power, LEAST_NOISE * mean.abs().square().flatten(1).mean(-1))


def moments(logits: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Means and variances of symbols whose points have log-probabilities ``logits``, shape (..., points)."""
    probabilities = torch.softmax(logits, -1)
    mean = (probabilities * points).sum(-1)
    return mean, (probabilities * (points - mean[..., None]).abs().square()).sum(-1)
