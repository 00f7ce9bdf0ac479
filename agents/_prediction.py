"""Linear prediction of channels: what the prediction baselines share.

Every predictor but `pad` is a matrix of weights, (future, past), that is computed once per episode (or beam) and
applied to all its time series at once. Fitting an autoregression needs only inner products of whole slots with each
other, so the fit costs little memory beyond the channel itself.

Series have shape (..., past, entries): the last axis is pooled, axes before time are separate problems.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wirelessgym.arrays import from_beams, from_delays, to_beams, to_delays
from wirelessgym.channel.clusters import SPEED_OF_LIGHT_MPS
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

# Keeps singular normal equations solvable; far below the rounding of complex64 observations.
_RELATIVE_RIDGE = 1e-12


def num_future(task: TaskSpec) -> int:
    """Slots to predict."""
    return task.action_fields[0].shape[0]


def check_order(order: int, num_past: int) -> None:
    """Refuse an order that leaves no slot to fit.

    Raises:
        ValueError: unless 1 <= order < num_past.
    """
    if not 1 <= order < num_past:
        raise ValueError(f"order: expected 1 to {num_past - 1} for {num_past} past slots, got {order}")


def known_noise_power(obs: Obs, given: float | None, agent: str) -> Tensor:
    """Return the noise power of each episode, shape (batch,), float64, watt: observed, or else as ``given``.

    Raises:
        ValueError: if the task hides it and none is given, or a negative one is.
    """
    csi = obs["csi"]
    if "noise_power" in obs:
        return obs["noise_power"].double()
    if given is None:
        raise ValueError(f"{agent} needs the noise power: the observation has none and option noise_power is None")
    if given < 0:
        raise ValueError(f"noise_power: expected at least 0 W, got {given}")
    return torch.full(csi.shape[:1], given, dtype=torch.float64, device=csi.device)


def to_bins(task: TaskSpec, csi: Tensor) -> Tensor:
    """Transform antennas to beams and subcarriers to delays; (..., antennas, subcarriers), energy is kept."""
    panel = task.scenario.panel
    return to_delays(to_beams(csi, panel.rows, panel.columns, dim=-2))


def from_bins(task: TaskSpec, bins: Tensor) -> Tensor:
    """Undo `to_bins`."""
    panel = task.scenario.panel
    return from_beams(from_delays(bins), panel.rows, panel.columns, dim=-2)


def estimated_noise_power(bins: Tensor) -> Tensor:
    """Estimate the noise power from beam-delay bins most of which are empty.

    The power of an empty bin is exponentially distributed with the noise power as mean: its median is ln 2 times that.
    Where more than half of the bins hold signal (rich scattering, short delay windows) the estimate is too high.

    Args:
        bins: shape (batch, past, beams, delays), complex64.

    Returns:
        Shape (batch,), float64, watt.
    """
    return bins.abs().square().flatten(1).median(dim=1).values.double() / math.log(2)


def lagged_products(series: Tensor) -> Tensor:
    """Inner products of slots: entry (s, t) is the sum over entries of ``conj(x_s) x_t``.

    Args:
        series: shape (..., past, entries), complex64.

    Returns:
        Shape (..., past, past), complex128.
    """
    # Double precision: exact prediction from few tones depends on small eigenvalues of this matrix.
    series = series.to(torch.complex128)
    return (series @ series.mH).mT


def ar_coefficients(products: Tensor, order: int, loading: Tensor | float = 0.0, *, last_window: bool = False) -> Tensor:
    """Fit an autoregression by regularised least squares (the covariance method).

    Minimises ``sum_t |x_t - sum_i a_i x_{t-order+i}|^2 + loading |a|^2`` over all slots t with ``order`` slots before
    them, or over the last slot only.

    Args:
        products: `lagged_products` of the series, shape (..., past, past).
        order: number of coefficients, less than past.
        loading: shape (...) or a number, in units of the products.
        last_window: fit the last slot only.

    Returns:
        a, shape (..., order), complex128; the oldest slot's coefficient first.
    """
    windows = products.unfold(-2, order + 1, 1).unfold(-2, order + 1, 1).diagonal(dim1=-4, dim2=-3)
    total = windows[..., -1] if last_window else windows.sum(-1)
    normal, right = total[..., :order, :order], total[..., :order, order:]
    return solve_loaded(normal, right, loading).squeeze(-1)


def solve_loaded(matrix: Tensor, right: Tensor, loading: Tensor | float) -> Tensor:
    """Solve ``(matrix + loading I) x = right`` for Hermitian, possibly singular matrices, shape (..., n, n)."""
    size = matrix.shape[-1]
    trace = matrix.diagonal(dim1=-2, dim2=-1).real.sum(-1)
    ridge = loading + _RELATIVE_RIDGE * trace / size + torch.finfo(trace.dtype).tiny
    identity = torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    solution: Tensor = torch.linalg.solve(matrix + ridge[..., None, None] * identity, right)
    return solution


def ar_weights(coefficients: Tensor, num_past: int, num_future: int) -> Tensor:
    """Turn an autoregression into weights of the past slots by iterating it on its own output.

    Args:
        coefficients: shape (..., order), the oldest slot's first.
        num_past: past slots.
        num_future: slots to predict.

    Returns:
        Shape (..., future, past).
    """
    order = coefficients.shape[-1]
    history = torch.eye(num_past, dtype=coefficients.dtype, device=coefficients.device)
    rows = list(history[-order:].expand(*coefficients.shape[:-1], order, num_past).unbind(-2))
    for _ in range(num_future):
        latest = torch.stack(rows[-order:], -2)
        rows.append((coefficients[..., None] * latest).sum(-2))
    return torch.stack(rows[order:], -2)


def predict(weights: Tensor, csi: Tensor) -> Tensor:
    """Apply weights, shape (batch, future, past), to all entries of csi, shape (batch, past, antennas, subcarriers)."""
    prediction = weights.to(csi.dtype) @ csi.flatten(2)
    return prediction.view(*prediction.shape[:2], *csi.shape[2:])


def max_doppler_hz(task: TaskSpec, speed_mps: Tensor) -> Tensor:
    """Largest Doppler shift at a speed: ``v f_c / c``."""
    return speed_mps * task.scenario.carrier_frequency_hz / SPEED_OF_LIGHT_MPS


def clarke_correlation(doppler_hz: Tensor, slot_duration_s: float, num_lags: int) -> Tensor:
    """Correlation of isotropic scattering over time, ``J0(2 pi f_d k T)`` for k = 0, ..., num_lags - 1.

    Source: Clarke, Bell Syst. Tech. J. 47(6), 1968; Jakes, "Microwave Mobile Communications", 1974, chapter 1.

    Args:
        doppler_hz: shape (...), float64, largest Doppler shift.
        slot_duration_s: T.
        num_lags: number of lags.

    Returns:
        Shape (..., num_lags), float64.
    """
    lags = torch.arange(num_lags, dtype=torch.float64, device=doppler_hz.device)
    correlation: Tensor = torch.special.bessel_j0(2 * math.pi * slot_duration_s * doppler_hz[..., None] * lags)
    return correlation


def toeplitz(correlation: Tensor) -> Tensor:
    """Hermitian matrix with ``r_{j-i}`` at row i, column j, where ``r_{-k} = conj(r_k)``; (..., n) to (..., n, n)."""
    index = torch.arange(correlation.shape[-1], device=correlation.device)
    lag = index - index[:, None]
    values = correlation[..., lag.abs()]
    return torch.where(lag < 0, values.conj(), values)
