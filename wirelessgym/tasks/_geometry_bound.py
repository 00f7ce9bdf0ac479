"""Ceiling of channel prediction: the linear MMSE predictor that knows every ray's geometry and mean power.

The channel is a sum of rays, each a complex amplitude times a phase that advances linearly over columns, rows, slots
and subcarriers. Given those advances the amplitudes are the only unknowns: independent, zero mean, with known powers.
For Gaussian amplitudes no predictor has a smaller expected error; for others (fixed magnitude, random phase) no linear
one.

Source: Kay, "Fundamentals of Statistical Signal Processing: Estimation Theory", 1993, section 12.5 (linear model).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_PAIRS_AT_ONCE = 2_000_000  # ray pairs worked on at a time: about 150 MB
_LEAST_NOISE = 1e-10  # of the mean power: below, rounding would make the matrix indefinite


def geometry_bound(
    power: Tensor,
    horizontal: Tensor,
    vertical: Tensor,
    doppler: Tensor,
    delay: Tensor,
    *,
    columns: int,
    rows: int,
    num_past: int,
    num_future: int,
    num_subcarriers: int,
    noise_power: Tensor,
) -> tuple[Tensor, Tensor]:
    """Expected squared error of the linear MMSE predictor of the future slots from the noisy past ones.

    With S and F the ray responses over past and future, ``A = S^H S``, ``B = F^H F`` and D the powers, the error is
    ``tr(B (D^-1 + A / s)^-1) = s tr(B D^1/2 (D^1/2 A D^1/2 + s I)^-1 D^1/2)`` at noise power s. A and B are products of
    geometric sums. Counted from the centres of panel, band and window these are real; what is left of the phases is the
    step from the past window's centre to the future one's, of which the real part is enough under a trace.

    Args:
        power: mean power of each ray, shape (batch, rays); 0 marks an absent ray.
        horizontal: phase advance of each ray in cycles per column, same shape, float64.
        vertical: in cycles per row.
        doppler: in cycles per slot.
        delay: in cycles per subcarrier.
        columns: columns of the panel.
        rows: rows of the panel.
        num_past: observed slots 0, ..., num_past - 1.
        num_future: predicted slots, which follow.
        num_subcarriers: subcarriers.
        noise_power: variance of the noise on each observed entry, shape (batch,); at least 1e-10 of the channel's mean
            power is taken.

    Returns:
        Squared error and energy of the target, both expected and summed over future slots, antennas and subcarriers,
        shape (batch,), float32.

    Raises:
        ValueError: if the ray tensors' shapes differ or noise_power isn't (batch,).
    """
    rays = {"horizontal": horizontal, "vertical": vertical, "doppler": doppler, "delay": delay}
    for name, value in rays.items():
        if value.shape != power.shape:
            raise ValueError(f"{name}: expected the shape of power, {tuple(power.shape)}, got {tuple(value.shape)}")
    if noise_power.shape != power.shape[:1]:
        raise ValueError(f"noise_power: expected shape {tuple(power.shape[:1])}, got {tuple(noise_power.shape)}")
    chunk = max(1, _PAIRS_AT_ONCE // max(1, power.shape[1] ** 2))
    errors = []
    for first in range(0, len(power), chunk):
        part = slice(first, first + chunk)
        spectrum = power[part].double()
        noise = torch.maximum(noise_power[part].double(), _LEAST_NOISE * spectrum.sum(-1))
        amplitude = spectrum.sqrt()
        doppler_step = _differences(doppler[part])
        shared = amplitude[:, :, None] * amplitude[:, None, :]
        shared = shared * _dirichlet(_differences(horizontal[part]), columns)
        shared = shared * _dirichlet(_differences(vertical[part]), rows)
        shared = shared * _dirichlet(_differences(delay[part]), num_subcarriers)
        past = shared * _dirichlet(doppler_step, num_past)
        centres_apart = torch.cos(math.pi * (num_past + num_future) * doppler_step)
        future = shared * _dirichlet(doppler_step, num_future) * centres_apart
        past.diagonal(dim1=-2, dim2=-1).add_(noise[:, None])
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(past))
        errors.append(noise * (inverse * future).sum((-2, -1)))
    squared_error = torch.cat(errors) if errors else power.new_zeros(0)
    target_energy = power.double().sum(-1) * (num_future * rows * columns * num_subcarriers)
    return squared_error.float(), target_energy.float()


def _differences(advance: Tensor) -> Tensor:
    advance = advance.double()
    return advance[:, :, None] - advance[:, None, :]


def _dirichlet(step: Tensor, count: int) -> Tensor:
    """Sum of ``exp(j 2 pi step k)`` over k = 0, ..., count - 1 without its phase ``exp(j pi step (count - 1))``."""
    nearest = step.round()
    away = step - nearest
    denominator = torch.sin(math.pi * away)
    close = denominator.abs() < 1e-7
    ratio = torch.sin(math.pi * count * away) / denominator.masked_fill(close, 1.0)
    magnitude = torch.where(close, float(count), ratio)
    # The phase taken out has period 2 in step when count is even: odd steps change the sign.
    return magnitude * torch.cos(math.pi * (count - 1) * nearest)
