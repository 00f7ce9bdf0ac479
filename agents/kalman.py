"""Kalman prediction with an autoregressive model of the fading that is estimated from each episode.

Source: Kay, "Fundamentals of Statistical Signal Processing: Estimation Theory", 1993, chapter 13 (the filter); Baddour
and Beaulieu, "Autoregressive modeling for fading channel simulation", IEEE Trans. Wireless Commun. 4(4), 2005
(the Yule-Walker equations, and the small diagonal that keeps them well conditioned).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._prediction import check_order, known_noise_power, lagged_products, num_future, predict, toeplitz


@dataclass(frozen=True)
class Kalman(Agent):
    """Filter the past slots with an AR model of the channel and forecast from the last state.

    The correlation is the sample mean over antennas, subcarriers and slots, less the noise power at lag 0. All entries
    of an episode share the model and so the gains: the filter runs once per episode, on impulses, and its impulse
    response is applied to the channel.

    Args:
        order: of the autoregression.
        floor: smallest eigenvalue of the correlation matrix, over its diagonal; the diagonal is loaded until it is
            reached, which keeps the model stable.
        noise_power: watt, used when the task hides it.
    """

    order: int = 6
    floor: float = 3e-3
    noise_power: float | None = None
    tasks = ("channel_prediction",)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64.

        Raises:
            ValueError: unless 1 <= order < past, for a floor that isn't positive, or without a noise power.
        """
        csi = obs["csi"]
        num_past = csi.shape[1]
        check_order(self.order, num_past)
        if self.floor <= 0:
            raise ValueError(f"floor: expected more than 0, got {self.floor}")
        noise = known_noise_power(obs, self.noise_power, "kalman")
        correlation = self._correlation(csi, noise)
        return predict(kalman_weights(correlation, noise, num_past, num_future(task)), csi)

    def _correlation(self, csi: Tensor, noise: Tensor) -> Tensor:
        products = lagged_products(csi.flatten(2)) / csi[0, 0].numel()
        lags = [products.diagonal(lag, dim1=-2, dim2=-1).mean(-1) for lag in range(self.order + 1)]
        observed = lags[0].real
        tiny = torch.finfo(observed.dtype).tiny
        # Where there seems to be nothing but noise, the floor refers to the observed power.
        lags[0] = torch.maximum(observed - noise, self.floor * observed).clamp_min(tiny).to(products.dtype)
        correlation = torch.stack(lags, -1)
        smallest = torch.linalg.eigvalsh(toeplitz(correlation))[..., 0]
        loading = (self.floor * lags[0].real - smallest).clamp_min(0)
        return torch.cat([correlation[..., :1] + loading[..., None], correlation[..., 1:]], -1)


def kalman_weights(correlation: Tensor, noise_power: Tensor, num_past: int, num_future: int) -> Tensor:
    """Weights of the past slots in the Kalman forecast of an autoregressive process.

    With state ``x_t = [h_t, ..., h_{t-p+1}]``, ``x_{t+1} = F x_t + e_1 w`` and observation ``z_t = h_t + n``; the
    filter starts from the stationary distribution.

    Args:
        correlation: ``r_l = E[h_{t+l} conj(h_t)]`` at lags 0 to p, positive definite, shape (batch, p + 1), complex128.
        noise_power: shape (batch,), float64.
        num_past: past slots.
        num_future: slots to predict.

    Returns:
        Shape (batch, future, past), complex128.
    """
    order = correlation.shape[-1] - 1
    # E[x x^H] has r_{j-i} at (i, j); the Yule-Walker equations have its transpose.
    stationary = toeplitz(correlation[..., :order])
    coefficients = torch.linalg.solve(stationary.mT, correlation[..., 1:, None]).squeeze(-1)
    innovation = (correlation[..., 0] - (coefficients * correlation[..., 1:].conj()).sum(-1)).real

    shift = torch.eye(order, dtype=correlation.dtype, device=correlation.device)[:-1]
    transition = torch.cat([coefficients[:, None], shift.expand(len(correlation), -1, -1)], 1)
    impulses = torch.eye(num_past, dtype=correlation.dtype, device=correlation.device)
    state = impulses.new_zeros(len(correlation), order, num_past)
    covariance = stationary
    for slot in range(num_past):
        if slot:
            state = transition @ state
            covariance = transition @ covariance @ transition.mH
            covariance = covariance + torch.nn.functional.pad(innovation[:, None, None], (0, order - 1, 0, order - 1))
        gain = covariance[..., :1] / (covariance[:, :1, :1].real + noise_power[:, None, None])
        state = state + gain * (impulses[slot] - state[:, :1])
        covariance = covariance - gain * covariance[:, :1]
    forecasts = []
    for _ in range(num_future):
        state = transition @ state
        forecasts.append(state[:, 0])
    return torch.stack(forecasts, 1)
