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

_PAIRS_AT_ONCE = 200_000  # ray pairs worked on at a time: about 10 MB, which caches hold
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
    one Gram matrix each over columns, rows, slots and subcarriers. With all indices counted from the centre of panel,
    band and past window, A is real and of B only the real part counts under the trace.

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
        noise = torch.maximum(noise_power[part].double(), _LEAST_NOISE * spectrum.sum(-1)).clamp_min(1e-300)
        amplitude = spectrum.sqrt()
        shared = amplitude[:, :, None] * amplitude[:, None, :]
        for advance, count in ((horizontal, columns), (vertical, rows), (delay, num_subcarriers)):
            shared *= _cosine_gram(advance[part], range(count), centre=(count - 1) / 2)
        centre = (num_past - 1) / 2
        past = shared * _cosine_gram(doppler[part], range(num_past), centre)
        future = shared * _cosine_gram(doppler[part], range(num_past, num_past + num_future), centre)
        past.diagonal(dim1=-2, dim2=-1).add_(noise[:, None])
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(past))
        errors.append(noise * (inverse * future).sum((-2, -1)))
    squared_error = torch.cat(errors) if errors else power.new_zeros(0)
    target_energy = power.double().sum(-1) * (num_future * rows * columns * num_subcarriers)
    return squared_error.float(), target_energy.float()


def _cosine_gram(advance: Tensor, indices: range, centre: float) -> Tensor:
    """Entry (r, s) is the sum over indices k of ``cos(2 pi (k - centre) (x_r - x_s))`` for advances x (batch, rays)."""
    offsets = torch.arange(indices.start, indices.stop, dtype=torch.float64, device=advance.device) - centre
    angles = 2 * math.pi * offsets[:, None] * advance[:, None, :].double()
    waves = torch.cat([angles.cos(), angles.sin()], 1)
    return waves.mT @ waves
