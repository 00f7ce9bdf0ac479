"""WMMSE for noisy channel knowledge: denoise the estimate beam by beam, and treat the remaining error as noise.

In the beam domain (the two-dimensional Fourier transform over the panel) the channel sits in few strong beams and
the estimation error is spread evenly. Each beam is scaled by its own Wiener gain, whose signal power is the observed power
less the error's. The error that remains spreads every user's signal into the others' channels, so WMMSE runs with
additional noise.

Sources: gain from the observed power, Ephraim, Malah, IEEE Trans. Acoust. Speech Signal Process. 32(6), 1984; the
error it leaves, Stein, "Estimation of the mean of a multivariate normal distribution", Ann. Stat. 9(6), 1981, theorem
1; error taken as noise, Bjornson, Hoydis, Sanguinetti, "Massive MIMO networks", 2017, section 4.1; WMMSE as in that
agent.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class RobustWMMSE(Agent):
    """WMMSE on the denoised estimate. With perfect knowledge (no ``csi_noise_power`` observed) it is WMMSE.

    Args:
        iterations: of WMMSE.
        error_weight: how many times the residual error's power, summed over the transmit power, is added to the
            noise.
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
        csi, residual = denoised(obs["csi"], obs["csi_noise_power"], task.scenario.panel)
        noise_power = obs["noise_power"] + self.error_weight * obs["tx_power"] * residual
        return wmmse.act(task, obs | {"csi": csi, "noise_power": noise_power})


def denoised(csi: Tensor, csi_noise_power: Tensor, panel: Panel) -> tuple[Tensor, Tensor]:
    """Scale each beam b of the estimate by ``max(|b|^2 - e, 0) / |b|^2``, e being the error's variance.

    Args:
        csi: shape (batch, users, antennas), complex64; rows of zeros are no users.
        csi_noise_power: e, shape (batch,).
        panel: the base station's array.

    Returns:
        The denoised estimate, same shape, and the variance of the error left in each of its entries, shape (batch,),
        by Stein's unbiased estimate: a beam that is kept leaves ``e + e^2 / |b|^2``, one that is cut ``|b|^2 - e``.
    """
    beams = to_beams(csi, panel.rows, panel.columns)
    gains, residual = wiener(beams, csi_noise_power, active_users(csi))
    return from_beams(beams * gains, panel.rows, panel.columns), residual


def wiener(beams: Tensor, error: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return each beam's gain, and the variance of the error left in each entry, as `denoised` says.

    Args:
        beams: observed, shape (batch, users, antennas), complex64.
        error: variance of the error on each, shape (batch,).
        present: which users take part, shape (batch, users), bool.

    Returns:
        Shapes (batch, users, antennas) and (batch,), float32.
    """
    observed, error = beams.abs().square(), error[:, None, None]
    excess = observed - error
    gains = excess.clamp_min(0) / observed.clamp_min(torch.finfo(observed.dtype).tiny)
    left = torch.where(excess > 0, error + error * (1 - gains), excess) * present[..., None]
    entries = present.sum(-1).clamp_min(1) * beams.shape[-1]
    return gains, (left.sum((-2, -1)) / entries).clamp_min(0)
