"""Autoregression fitted to each episode, one model for all antennas and subcarriers.

Source: Kay, "Modern Spectral Estimation", 1988 (the covariance method), pooled over entries; Duel-Hallen,
"Fading channel prediction for mobile radio adaptive transmission systems", Proc. IEEE 95(12), 2007.
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
    lagged_products,
    num_future,
    predict,
    to_bins,
)


@dataclass(frozen=True)
class AR(Agent):
    """Fit ``h_t = sum_i a_i h_{t-i}`` to the past slots by regularised least squares and iterate it.

    Args:
        order: number of slots that each prediction uses.
        loading: regularisation, in units of the noise energy that one coefficient sees. A hidden noise power is
            estimated from the weakest beam-delay bins.
    """

    order: int = 6
    loading: float = 0.2
    tasks = ("channel_prediction",)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64.

        Raises:
            ValueError: unless 1 <= order < past.
        """
        csi = obs["csi"]
        num_past = csi.shape[1]
        check_order(self.order, num_past)
        noise = obs["noise_power"].double() if "noise_power" in obs else estimated_noise_power(to_bins(task, csi))
        loading = self.loading * noise * csi[0, 0].numel() * (num_past - self.order)
        coefficients = ar_coefficients(lagged_products(csi.flatten(2)), self.order, loading)
        return predict(ar_weights(coefficients, num_past, num_future(task)), csi)
