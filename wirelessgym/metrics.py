"""Metrics: what each number means, which way is better, and the formula behind it with its source."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """One number that a task reports for each step of each episode.

    Attributes:
        name: key in ``step.metrics``.
        unit: unit of the value.
        higher_is_better: direction.
        formula: one line of plain mathematics.
        source: where the definition comes from.
        ratio: for a ratio of sums, the keys in ``step.metrics`` of numerator and denominator: the value over many steps and
            episodes is sum(numerator) / sum(denominator), not the mean of the per-step ratios.
        decibel: whether the value is ``10 log10`` of that ratio.
    """

    name: str
    unit: str
    higher_is_better: bool
    formula: str
    source: str
    ratio: tuple[str, str] | None = None
    decibel: bool = False


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Sum over the last axis of ``conj(a) b``, with broadcasting.

    Made of real products: torch rounds complex ones differently at the end of a tensor, and a row's bits must not depend on the
    rows beside it.
    """
    real = (a.real * b.real + a.imag * b.imag).sum(-1)
    return torch.complex(real, (a.real * b.imag - a.imag * b.real).sum(-1))


def per_row(x: Tensor, ndim: int) -> Tensor:
    """Insert axes of one behind the batch until ``x`` (batch, ...) has ``ndim`` axes: it then broadcasts over what lies there."""
    return x.reshape(len(x), *[1] * (ndim - x.ndim), *x.shape[1:])


def user_rates(h: Tensor, w: Tensor, noise_power: Tensor) -> Tensor:
    """Rate of each downlink user with interference taken as noise: ``log2(1 + SINR_k)``.

    Args:
        h: channels h_k, shape (batch, users, antennas) or, with any axes of parallel channels such as subcarriers behind the
            batch, (batch, ..., users, antennas), complex64; user k receives ``h_k^H sum_j w_j s_j + n``.
        w: precoders w_k, same shape and dtype, square root of watt.
        noise_power: of each of the parallel channels, shape (batch,), watt.

    Returns:
        Shape (batch, ..., users), bit/s/Hz. Source: Shi et al., IEEE Trans. Signal Process. 59(9), 2011.
    """
    received = inner(h[..., :, None, :], w[..., None, :, :]).abs().square()
    signal = received.diagonal(dim1=-2, dim2=-1)
    interference = received.sum(-1) - signal
    return torch.log2(1 + signal / (interference.clamp_min(0) + per_row(noise_power, signal.ndim)))


def energy(x: Tensor) -> Tensor:
    """Sum of squared magnitudes over all axes but the first, shape (batch,), float32; summed axis by axis, in a fixed order."""
    total = x.abs().square()
    while total.ndim > 1:
        total = total.sum(-1)
    return total


def decibels(x: Tensor) -> Tensor:
    """``10 log10 x``, with minus infinity kept out by the smallest positive float32."""
    return 10 * torch.log10(x.clamp_min(torch.finfo(torch.float32).tiny))


def from_decibels(value_db: float) -> float:
    """Linear power ratio of a value in dB."""
    return math.pow(10.0, value_db / 10)
