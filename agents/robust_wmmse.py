"""WMMSE for noisy channel knowledge: denoise the estimate beam by beam, and treat the remaining error as noise.

In the beam domain (the two-dimensional Fourier transform over the panel) the channel sits in few strong beams and
the estimation error is spread evenly. Each beam is scaled by its own Wiener gain, whose signal power is the observed power
less the error's. Where the observation says that all beams are equally strong, as in rich scattering, a user's beams share one
gain instead. The error that remains spreads every user's signal into the others' channels, so WMMSE runs with additional noise.

Sources: gain from the observed power, Ephraim, Malah, IEEE Trans. Acoust. Speech Signal Process. 32(6), 1984; the error it
leaves, Stein, "Estimation of the mean of a multivariate normal distribution", Ann. Stat. 9(6), 1981, theorem 1; a gain shared by
all beams, James, Stein, "Estimation with quadratic loss", 1961; error taken as noise, Bjornson, Hoydis, Sanguinetti, "Massive
MIMO networks", 2017, section 4.1; WMMSE as in that agent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.arrays import from_beams, to_beams
from wirelessgym.fields import Obs
from wirelessgym.scenario import Panel
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._linear import active_users
from .wmmse import WMMSE

STRONG_BEAMS, WEAK = (
    1 / 3,
    0.1,
)  # share of beams that carry the power, and variance of the others over the mean one; chosen by hand
LEAST_SIGNAL = 0.05  # of the error's power: an observation weaker than the error may still hold a channel


@dataclass(frozen=True)
class RobustWMMSE(Agent):
    """WMMSE on the denoised estimate. With perfect knowledge (no ``csi_noise_power`` observed) it is WMMSE.

    Args:
        iterations: of WMMSE.
        error_weight: how many times the residual error's power, summed over the transmit power, is added to the
            noise where beams are sparse: the error then lies in the beams that precoders use. Otherwise it's added once.
    """

    iterations: int = 100
    error_weight: float = 2.0
    tasks = ("precoding",)

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Where the task asks for the structure, return that, as `WMMSE` does; the task then builds the beams on the estimate as it
        was observed, so that only part of the gain remains.
        """
        wmmse = WMMSE(iterations=self.iterations)
        if "csi_noise_power" not in obs:
            return wmmse.act(task, obs)
        panel = task.scenario.panel
        beams = to_beams(obs["csi"], panel.rows, panel.columns)
        gains, residual, sparse = wiener(beams, obs["csi_noise_power"], active_users(obs["csi"]))
        csi = from_beams(beams * gains, panel.rows, panel.columns)
        noise_power = obs["noise_power"] + obs["tx_power"] * error_as_noise(residual, sparse, self.error_weight)
        return wmmse.act(task, obs | {"csi": csi, "noise_power": noise_power})


def denoised(csi: Tensor, csi_noise_power: Tensor, panel: Panel) -> tuple[Tensor, Tensor]:
    """Scale each beam b of the estimate by ``max(|b|^2 - e, 0) / |b|^2``, e being the error's variance.

    Where beams aren't sparse, |b|^2 is the mean over the user's beams.

    Args:
        csi: shape (batch, users, antennas), complex64; rows of zeros are no users.
        csi_noise_power: e, shape (batch,).
        panel: the base station's array.

    Returns:
        The denoised estimate, same shape, and the variance of the error left in each of its entries, shape (batch,),
        by Stein's unbiased estimate: a beam that is kept leaves ``e + e^2 / |b|^2``, one that is cut ``|b|^2 - e``; a shared
        gain g leaves ``g e``.
    """
    beams = to_beams(csi, panel.rows, panel.columns)
    gains, residual, _ = wiener(beams, csi_noise_power, active_users(csi))
    return from_beams(beams * gains, panel.rows, panel.columns), residual


def wiener(beams: Tensor, error: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return each beam's gain, the variance of the error left in each entry, as `denoised` says, and whether beams are sparse.

    Args:
        beams: observed, shape (batch, users, antennas), complex64.
        error: variance of the error on each, shape (batch,).
        present: which users take part, shape (batch, users), bool.

    Returns:
        Shapes (batch, users, antennas), (batch,) and (batch,), float32: the last is the probability of `sparseness`, by which
        own and shared gains, and the errors that they leave, are mixed.
    """
    observed, error = beams.abs().square(), error[:, None, None]
    tiny = torch.finfo(observed.dtype).tiny
    excess = observed - error
    own = excess.clamp_min(0) / observed.clamp_min(tiny)
    left_by_own = torch.where(excess > 0, error + error * (1 - own), excess)
    mean = observed.mean(-1, keepdim=True)
    shared = (mean - error).clamp_min(0) / mean.clamp_min(tiny)
    sparse = sparseness(observed, mean, error, present)
    mixed = sparse[:, None, None]
    gains = mixed * own + (1 - mixed) * shared
    left = (mixed * left_by_own + (1 - mixed) * error * shared) * present[..., None]
    entries = present.sum(-1).clamp_min(1) * beams.shape[-1]
    return gains, (left.sum((-2, -1)) / entries).clamp_min(0), sparse


def sparseness(observed: Tensor, mean: Tensor, error: Tensor, present: Tensor) -> Tensor:
    """Probability that few beams carry the power, given the beams' powers, shape (batch,), float32.

    Two hypotheses for all users of a row, equally likely beforehand: a user's beams are Gaussian with one variance; or each has
    `WEAK` of it or, with probability `STRONG_BEAMS`, as much more as keeps the mean. The mean observed power says the variance.
    """
    variance = torch.maximum(mean - error, LEAST_SIGNAL * error)

    def log_density(power: Tensor) -> Tensor:
        power = power.clamp_min(torch.finfo(power.dtype).tiny)
        return -observed / power - power.log()

    above = (1 - WEAK * (1 - STRONG_BEAMS)) / STRONG_BEAMS
    strong = log_density(above * variance + error) + math.log(STRONG_BEAMS)
    weak = log_density(WEAK * variance + error) + math.log(1 - STRONG_BEAMS)
    evidence = torch.logaddexp(strong, weak) - log_density(variance + error)
    return torch.sigmoid((evidence.sum(-1) * present).sum(-1))


def error_as_noise(residual: Tensor, sparse: Tensor, error_weight: float) -> Tensor:
    """Noise, per watt transmitted, that the remaining error counts as, shape (batch,): see `RobustWMMSE`."""
    return residual * (1 + (error_weight - 1) * sparse)
