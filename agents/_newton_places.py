"""Plane waves' places refined by Newton's method: a step towards where each explains most energy.

Source: Mamandipoor, Ramasamy, Madhow, IEEE Trans. Signal Process. 64(19), 2016, section III.A, over three axes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LONGEST = 0.25  # step, in bins
_FLATTEST = 1e-3  # curvature relative to the steepest axis
_ORDERS = ((0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (0, 2))  # of derivatives by column and row


def steering(cycles: Tensor, size: int, derivatives: int = 2) -> Tensor:
    """Wave along one axis about its centre and its derivatives by the cycles per step, shape (..., orders, size), complex64."""
    radians = 2 * math.pi * (torch.arange(size, device=cycles.device) - (size - 1) / 2)
    wave = torch.polar(torch.full_like(cycles, size**-0.5)[..., None], cycles[..., None] * radians)
    return torch.stack([wave, wave * (1j * radians), -wave * radians.square()][: derivatives + 1], -2)


def newton_step(residual: Tensor, place: Tensor, amplitude: Tensor) -> Tensor:
    """Step of each wave that raises the energy which it explains of the residual and of its own part, shape (batch, waves, 3).

    Args:
        residual: shape (batch, snapshots, columns, rows, subcarriers).
        place: shape (batch, waves, 3).
        amplitude: of each wave in what was subtracted from the snapshots, shape (batch, waves, snapshots).
    """
    sizes = residual.shape[2:]
    column, row, subcarrier = (steering(place[..., axis], size).conj() for axis, size in enumerate(sizes))
    panel = torch.stack([(column[..., c, :, None] * row[..., r, None, :]).flatten(-2) for c, r in _ORDERS], -1)
    flat = residual.flatten(1, 3)  # (batch, snapshots * antennas, subcarriers)
    seen = (subcarrier.flatten(1, 2) @ flat.mT).unflatten(2, (-1, panel.shape[-2])).unflatten(1, (-1, 3)).flatten(2, 3) @ panel
    seen = seen.unflatten(2, (3, -1))  # (batch, waves, order by subcarrier, snapshots, orders by column and row)
    value = seen[:, :, 0, :, 0] + amplitude
    slope = torch.stack([seen[:, :, 0, :, 1], seen[:, :, 0, :, 2], seen[:, :, 1, :, 0]], -1)
    spread = torch.tensor([math.pi**2 * (size**2 - 1) / 3 for size in sizes], device=place.device)  # (2 pi)^2 mean t^2
    own = torch.stack([seen[:, :, 0, :, 4], seen[:, :, 0, :, 5], seen[:, :, 2, :, 0]], -1) - amplitude[..., None] * spread
    mixed = torch.stack([seen[:, :, 0, :, 3], seen[:, :, 1, :, 1], seen[:, :, 1, :, 2]], -1)
    gradient = (value.conj()[..., None] * slope).real.sum(-2)
    curvature = (slope.mT @ slope.conj()).real
    curvature = curvature + torch.diag_embed((value.conj()[..., None] * own).real.sum(-2))
    across = (value.conj()[..., None] * mixed).real.sum(-2)
    first, second = [0, 0, 1], [1, 2, 2]
    curvature[..., first, second] += across
    curvature[..., second, first] += across
    bins = torch.tensor([1.0 / size for size in sizes], device=place.device)  # in these units the axes are alike
    values, vectors = torch.linalg.eigh(curvature * bins * bins[:, None])
    steepest = values.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    along = (vectors.mT @ (gradient * bins)[..., None])[..., 0] / torch.maximum(values.abs(), _FLATTEST * steepest)
    return (vectors @ along[..., None])[..., 0].clamp(-_LONGEST, _LONGEST) * bins
