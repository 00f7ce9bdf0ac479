"""Newtonised orthogonal matching pursuit: plane waves over a panel and its subcarriers, found between a Fourier transform's bins.

A cluster of rays is close to one plane wave: one delay, one direction, whose amplitude changes from slot to slot. A few of them
describe what a grid of bins spreads over hundreds.

Source: Mamandipoor, Ramasamy, Madhow, "Newtonized orthogonal matching pursuit: frequency estimation over the continuum", IEEE
Trans. Signal Process. 64(19), 2016, sections II and III; here several snapshots share their waves, those that stand clear of
each other are added together, and all are refined at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 1e-3  # loading of the waves' Gram matrix, whose diagonal is one: two may lie close together
_OVERSAMPLING = 2
_ADDED = 3  # waves per pass, at most
_CLEAR = 0.3  # of the highest peak's power: sidelobes have less
_STEPS = 2  # of Newton's method, for new waves and after each pass for all
_LONGEST = 0.25  # step, in bins
_FLATTEST = 1e-3  # curvature relative to the steepest axis


@dataclass(frozen=True)
class PlaneWaves:
    """Some plane waves per episode.

    Attributes:
        place: cycles per column, per row and per subcarrier, shape (batch, waves, 3), float32.
        present: shape (batch, waves), bool; others only fill the batch.
        values: of unit norm, zero where absent, shape (batch, waves, columns * rows * subcarriers), complex64.
    """

    place: Tensor
    present: Tensor
    values: Tensor


@torch.no_grad()
def find_plane_waves(snapshots: Tensor, noise_power: Tensor, *, most: int, false_alarms: float) -> PlaneWaves:
    """Find the waves that stand out of the noise.

    Args:
        snapshots: shape (batch, snapshots, columns, rows, subcarriers), complex64.
        noise_power: on each entry, shape (batch,).
        most: number of waves per episode, at most.
        false_alarms: expected number of peaks of noise that would be taken for waves, were there nothing else.
    """
    batch, num_snapshots, *sizes = snapshots.shape
    flat = snapshots.flatten(2)
    residual = flat
    points = math.prod(size if size == 1 else _OVERSAMPLING * size for size in sizes)
    threshold = noise_power[:, None] * _exceeded_by_chance(num_snapshots, min(0.5, false_alarms / points))
    place, present = flat.real.new_zeros(batch, 0, 3), torch.zeros(batch, 0, dtype=torch.bool, device=flat.device)
    while present.shape[1] < _ADDED * most:
        peak, new = _peaks(residual.unflatten(2, sizes))
        room = most - present.sum(1, keepdim=True)
        rank = torch.arange(peak.shape[1], device=peak.device)
        found = (peak > threshold) & (peak > _CLEAR * peak[:, :1]) & (rank < room)
        if not found.any():
            break
        moving = found.any(1)[:, None]
        nothing = flat.new_zeros(batch, new.shape[1], num_snapshots)
        for _ in range(_STEPS):
            new = new + _newton_step(residual.unflatten(2, sizes), new, nothing)
        place, present = torch.cat([place, new], 1), torch.cat([present, found], 1)
        for _ in range(_STEPS):
            values = plane_waves(place, present, sizes)
            amplitude = least_squares(values, flat)
            residual = flat - amplitude.mT @ values
            step = _newton_step(residual.unflatten(2, sizes), place, amplitude)
            place = torch.where(moving[..., None] & present[..., None], place + step, place)
        values = plane_waves(place, present, sizes)
        residual = flat - least_squares(values, flat).mT @ values
    order = present.int().sort(dim=1, descending=True, stable=True).indices[:, : int(present.sum(1).amax())]
    place, present = place.gather(1, order[..., None].expand(-1, -1, 3)), present.gather(1, order)
    return PlaneWaves(place, present, plane_waves(place, present, sizes))


def plane_waves(place: Tensor, present: Tensor, sizes: list[int]) -> Tensor:
    """Waves of unit norm about the centre, shape (batch, waves, columns * rows * subcarriers), complex64, zero where absent."""
    column, row, subcarrier = (_steering(place[..., axis], size)[..., 0, :] for axis, size in enumerate(sizes))
    wave = column[..., :, None, None] * row[..., None, :, None] * subcarrier[..., None, None, :]
    return wave.flatten(-3) * present[..., None]


def gram(values: Tensor) -> Tensor:
    """Loaded Gram matrix of the waves, shape (batch, waves, waves); absent ones have no part in others."""
    return values.conj() @ values.mT + RIDGE * torch.eye(values.shape[1], device=values.device)


def least_squares(values: Tensor, snapshots: Tensor) -> Tensor:
    """Amplitudes of the waves, shape (batch, waves, snapshots), from snapshots, shape (batch, snapshots, entries)."""
    amplitude: Tensor = torch.linalg.solve(gram(values), values.conj() @ snapshots.mT)
    return amplitude


def _exceeded_by_chance(num_snapshots: int, probability: float) -> float:
    """What the energy of complex Gaussian noise over some snapshots exceeds with a probability, noise power 1.

    Source: Wilson, Hilferty, "The distribution of chi-square", Proc. Natl. Acad. Sci. 17(12), 1931.
    """
    normal = float(torch.special.ndtri(torch.tensor(1 - probability, dtype=torch.float64)))
    return num_snapshots * (1 - 1 / (9 * num_snapshots) + normal / (3 * num_snapshots**0.5)) ** 3


def _steering(cycles: Tensor, size: int) -> Tensor:
    """Wave along one axis and its first two derivatives by the cycles per step, shape (..., 3, size), complex64."""
    radians = 2 * math.pi * (torch.arange(size, device=cycles.device) - (size - 1) / 2)
    wave = torch.polar(torch.full_like(cycles, size**-0.5)[..., None], cycles[..., None] * radians)
    return torch.stack([wave, wave * (1j * radians), -wave * radians.square()], -2)


def _peaks(residual: Tensor) -> tuple[Tensor, Tensor]:
    """Energies and places of the highest peaks, at least a bin apart, shapes (batch, peaks) and (batch, peaks, 3)."""
    sizes = [size if size == 1 else _OVERSAMPLING * size for size in residual.shape[2:]]
    spectrum = torch.fft.fftn(residual, s=sizes, dim=(2, 3, 4)).abs().square().sum(1) / residual[0, 0].numel()
    highest = spectrum
    for axis, size in enumerate(sizes, 1):
        if size > 1:
            shifted = [highest.roll(step, axis) for step in range(-_OVERSAMPLING, _OVERSAMPLING + 1)]
            highest = torch.stack(shifted).amax(0)
    peaks = torch.where(spectrum == highest, spectrum, 0).flatten(1)
    energy, index = peaks.topk(min(_ADDED, peaks.shape[1]), 1)
    _, rows, subcarriers = sizes
    steps = torch.stack([index // (rows * subcarriers), index // subcarriers % rows, index % subcarriers], -1)
    return energy, steps / torch.tensor(sizes, device=index.device)


def _newton_step(residual: Tensor, place: Tensor, amplitude: Tensor) -> Tensor:
    """Step of each wave that raises the energy which it explains of the residual and of its own part, shape (batch, waves, 3).

    Args:
        residual: shape (batch, snapshots, columns, rows, subcarriers).
        place: shape (batch, waves, 3).
        amplitude: of each wave in what was subtracted from the snapshots, shape (batch, waves, snapshots).
    """
    sizes = residual.shape[2:]
    column, row, subcarrier = (_steering(place[..., axis], size).conj() for axis, size in enumerate(sizes))
    seen = torch.einsum("bscrk,bwik->bwiscr", residual, subcarrier)
    seen = torch.einsum("bwiscr,bwjr->bwijsc", seen, row)
    seen = torch.einsum("bwijsc,bwlc->bwlijs", seen, column)  # orders of derivative: column, subcarrier, row
    value = seen[:, :, 0, 0, 0] + amplitude
    slope = torch.stack([seen[:, :, 1, 0, 0], seen[:, :, 0, 0, 1], seen[:, :, 0, 1, 0]], -1)
    spread = torch.tensor([math.pi**2 * (size**2 - 1) / 3 for size in sizes], device=place.device)  # (2 pi)^2 mean t^2
    own = torch.stack([seen[:, :, 2, 0, 0], seen[:, :, 0, 0, 2], seen[:, :, 0, 2, 0]], -1) - amplitude[..., None] * spread
    mixed = torch.stack([seen[:, :, 1, 0, 1], seen[:, :, 1, 1, 0], seen[:, :, 0, 1, 1]], -1)
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
