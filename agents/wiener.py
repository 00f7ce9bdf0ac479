"""Wiener prediction over time with Clarke's correlation: every antenna and subcarrier on its own.

Source: Clarke, Bell Syst. Tech. J. 47(6), 1968 (the correlation); Kay, "Fundamentals of Statistical Signal Processing:
Estimation Theory", 1993, section 12.7 (the predictor).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._prediction import clarke_correlation, known_noise_power, max_doppler_hz, num_future, predict, toeplitz

_SPEEDS = 256  # midpoints of the speed range; accurate to 1e-5 for 20 slots at 0.1 cycles each
_LEAST_SIGNAL = 1e-3  # of the observed power, where there seems to be nothing but noise

# Clarke's correlation matrix is nearly singular and torch's J0 is accurate to 4e-7 only: less could make it indefinite.
_LEAST_LOADING = 1e-5


@dataclass(frozen=True)
class Wiener(Agent):
    """Predict with ``R_fp (R_pp + n I)^-1``, the same for all entries of an episode.

    R holds the correlation ``J0(2 pi f_d k T)`` of isotropic scattering, n is the noise power over the signal power;
    the latter is the observed power less the noise power, per episode.

    Args:
        speed_kmh: user speed. None: the scenario's; for a range of speeds the correlation is its mean over the range.
        noise_power: watt, used when the task hides it.
    """

    speed_kmh: float | None = None
    noise_power: float | None = None
    tasks = ("channel_prediction",)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64.

        Raises:
            ValueError: for a negative speed, or without a noise power.
        """
        csi = obs["csi"]
        noise = known_noise_power(obs, self.noise_power, "wiener")
        observed = csi.abs().square().flatten(1).mean(1).double()
        signal = torch.maximum(observed - noise, _LEAST_SIGNAL * observed)
        loading = noise / signal.clamp_min(torch.finfo(signal.dtype).tiny)
        correlation = self._correlation(task, csi.shape[1] + num_future(task), csi.device)
        return predict(wiener_weights(correlation, loading, csi.shape[1]), csi)

    def _correlation(self, task: TaskSpec, num_lags: int, device: torch.device) -> Tensor:
        low, high = task.scenario.speed_mps
        if self.speed_kmh is not None:
            if self.speed_kmh < 0:
                raise ValueError(f"speed_kmh: expected at least 0, got {self.speed_kmh}")
            low = high = self.speed_kmh / 3.6
        midpoints = (torch.arange(_SPEEDS, dtype=torch.float64, device=device) + 0.5) / _SPEEDS
        doppler_hz = max_doppler_hz(task, low + (high - low) * midpoints)
        return clarke_correlation(doppler_hz, task.scenario.slot_duration_s, num_lags).mean(0)


def wiener_weights(correlation: Tensor, loading: Tensor, num_past: int) -> Tensor:
    """Weights of the past slots in the linear MMSE prediction of the future ones.

    Args:
        correlation: r_0 = 1, r_1, ... at lags up to past + future - 1, shape (past + future,), float64.
        loading: noise power over signal power, shape (batch,), float64.
        num_past: past slots.

    Returns:
        Shape (batch, future, past), float64.
    """
    matrix = toeplitz(correlation)
    identity = torch.eye(num_past, dtype=matrix.dtype, device=matrix.device)
    loaded = matrix[:num_past, :num_past] + loading.clamp_min(_LEAST_LOADING)[:, None, None] * identity
    weights: Tensor = torch.linalg.solve(loaded, matrix[:num_past, num_past:]).mT
    return weights
