"""Autoregression per beam on the strong beam-delay bins: the yardstick for learned predictors.

A ray sits in few bins of beam and delay, where it is far above the noise; and the rays of one beam have similar
Doppler shifts, which few coefficients describe. Source of the domain: Yin, Wang, Liu, Gesbert, IEEE J. Sel. Areas
Commun. 38(12), 2020; of the fit: Kay, "Modern Spectral Estimation", 1988.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._prediction import (
    ar_coefficients,
    ar_weights,
    check_order,
    estimated_noise_power,
    from_bins,
    lagged_products,
    num_future,
    to_bins,
)


@dataclass(frozen=True)
class ARBeamDelay(Agent):
    """Keep the bins above the noise, fit one autoregression per beam over its delays, iterate it and transform back.

    Args:
        order: number of slots that each prediction uses.
        threshold: a bin is kept when its mean power over the past exceeds this many times the noise power.
        loading: regularisation, in units of the noise energy of one slot in one beam.
    """

    order: int = 4
    threshold: float = 2.5
    loading: float = 0.5
    tasks = ("channel_prediction",)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64.

        A hidden noise power is estimated as the median of the bins' powers over ln 2.

        Raises:
            ValueError: unless 1 <= order < past.
        """
        num_past = obs["csi"].shape[1]
        check_order(self.order, num_past)
        bins = to_bins(task, obs["csi"])
        noise = obs["noise_power"].double() if "noise_power" in obs else estimated_noise_power(bins)
        power = bins.abs().square().mean(1, keepdim=True)
        bins = bins * (power > self.threshold * noise[:, None, None, None])
        per_beam = bins.transpose(1, 2)
        loading = self.loading * noise[:, None] * bins.shape[-1]
        coefficients = ar_coefficients(lagged_products(per_beam), self.order, loading)
        weights = ar_weights(coefficients, num_past, num_future(task)).to(bins.dtype)
        return from_bins(task, (weights @ per_beam).transpose(1, 2))
