"""Newtonised orthogonal matching pursuit: plane waves over a panel and its subcarriers, found between a Fourier transform's bins.

A cluster of rays is close to one plane wave: one delay, one direction, whose amplitude changes from slot to slot. A few of them
describe what a grid of bins spreads over hundreds.

Source: Mamandipoor, Ramasamy, Madhow, "Newtonized orthogonal matching pursuit: frequency estimation over the continuum", IEEE
Trans. Signal Process. 64(19), 2016, sections II and III; here several snapshots share their waves, those that no sidelobe of a
stronger one explains are added together, and all are refined at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ._newton_places import newton_step, steering

RIDGE = 1e-3  # loading of the waves' Gram matrix, whose diagonal is one: two may lie close together
_OVERSAMPLING = 2
_ADDED = 6  # waves per pass, at most
_CLEAR = 4.0  # times the sidelobes of stronger peaks
_BELOW = 0.3  # of the highest peak: what lies lower waits for a later pass
_LAST_STEPS = 2  # of Newton's method, for all in the end; before, each pass has one
_PASSES = 24  # at most
_STRONG_PASSES = 2  # with one more step for new waves: what is left of misplaced strong ones would look like weak ones


@dataclass(frozen=True)
class PlaneWaves:
    """Some plane waves per episode.

    Attributes:
        place: cycles per column, per row and per subcarrier, shape (batch, waves, 3), float32.
        present: shape (batch, waves), bool; others only fill the batch.
        sizes: number of columns, rows and subcarriers.
    """

    place: Tensor
    present: Tensor
    sizes: tuple[int, ...]

    def values(self) -> Tensor:
        """Waves of unit norm about the centre, shape (batch, waves, columns * rows * subcarriers), complex64, or zero."""
        column, row, subcarrier = (steering(self.place[..., axis], size, 0)[..., 0, :] for axis, size in enumerate(self.sizes))
        panel = (column[..., :, None] * row[..., None, :]).flatten(-2) * self.present[..., None]
        return (panel[..., :, None] * subcarrier[..., None, :]).flatten(-2)

    def gram(self) -> Tensor:
        """Loaded Gram matrix, real as places are counted from the centre, shape (batch, waves, waves), float32."""
        product = (self.present[..., None] & self.present[..., None, :]).float()
        for axis, size in enumerate(self.sizes):
            wave = torch.view_as_real(steering(self.place[..., axis], size, 0)[..., 0, :]).flatten(-2)
            product = product * (wave @ wave.mT)
        return product + RIDGE * torch.eye(product.shape[-1], device=product.device)


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
    points = math.prod(size if size == 1 else _OVERSAMPLING * size for size in sizes)
    threshold = noise_power[:, None] * _exceeded_by_chance(num_snapshots, min(0.5, false_alarms / points))
    place = snapshots.real.new_zeros(batch, most, 3)
    amplitude = snapshots.new_zeros(batch, most, num_snapshots)
    count = torch.zeros(batch, dtype=torch.int64, device=snapshots.device)
    rows, residual = torch.arange(batch, device=snapshots.device), snapshots
    for turn in range(_PASSES):
        new, clear = _peaks(residual, threshold[rows])
        clear &= clear.cumsum(1) <= (most - count[rows])[:, None]
        still = clear.any(1)
        if not still.any():
            break
        rows, residual, new, clear = rows[still], residual[still], new[still], clear[still]
        if turn < _STRONG_PASSES:
            new = new + newton_step(residual, new, residual.new_zeros(*new.shape[:2], num_snapshots))
        row, column = clear.nonzero(as_tuple=True)
        place[rows[row], count[rows[row]] + clear.cumsum(1)[row, column] - 1] = new[row, column]
        count[rows] += clear.sum(1)
        used = int(count[rows].amax())
        moved = place[rows, :used]
        moved = moved + newton_step(residual, moved, amplitude[rows, :used])  # new waves have explained nothing so far
        place[rows, :used] = moved
        amplitude[rows, :used], residual = _fitted(snapshots[rows], moved, count[rows])
    place = place[:, : max(1, int(count.amax()))]
    for _ in range(_LAST_STEPS):
        fitted, residual = _fitted(snapshots, place, count)
        place = place + newton_step(residual, place, fitted)
    return PlaneWaves(place, _first(count, place.shape[1]), tuple(sizes))


def bins_standing_out(snapshots: Tensor, noise_power: Tensor, false_alarms: float) -> Tensor:
    """Number of bins of the Fourier transform that stand out of the noise, shape (batch,), arguments as for the search."""
    bins = torch.fft.fftn(snapshots, dim=(2, 3, 4), norm="ortho").abs().square().sum(1).flatten(1)
    chance = _exceeded_by_chance(snapshots.shape[1], min(0.5, false_alarms / bins.shape[1]))
    return (bins > noise_power[:, None] * chance).sum(1)


def amplitudes(values: Tensor, gram: Tensor, snapshots: Tensor) -> Tensor:
    """Least-squares amplitudes, shape (batch, waves, snapshots), from snapshots, shape (batch, snapshots, entries)."""
    projected = torch.view_as_real((values @ snapshots.mH).conj().resolve_conj()).flatten(2)
    solved = torch.cholesky_solve(projected, torch.linalg.cholesky(gram))
    return torch.view_as_complex(solved.contiguous().unflatten(2, (-1, 2)))


def _fitted(snapshots: Tensor, place: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Amplitudes of the first waves at their places, shape (batch, waves, snapshots), and what they leave of the snapshots."""
    found, flat = PlaneWaves(place, _first(count, place.shape[1]), tuple(snapshots.shape[2:])), snapshots.flatten(2)
    values = found.values()
    amplitude = amplitudes(values, found.gram(), flat)
    return amplitude, (flat - amplitude.mT @ values).view_as(snapshots)


def _first(count: Tensor, size: int) -> Tensor:
    return torch.arange(size, device=count.device) < count[:, None]


def _exceeded_by_chance(num_snapshots: int, probability: float) -> float:
    """What the energy of complex Gaussian noise over some snapshots exceeds with a probability, noise power 1.

    Source: Wilson, Hilferty, "The distribution of chi-square", Proc. Natl. Acad. Sci. 17(12), 1931.
    """
    normal = float(torch.special.ndtri(torch.tensor(1 - probability, dtype=torch.float64)))
    return num_snapshots * (1 - 1 / (9 * num_snapshots) + normal / (3 * num_snapshots**0.5)) ** 3


def _peaks(residual: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the highest peaks, shape (batch, peaks, 3), and which stand clear of others' sidelobes, (batch, peaks)."""
    shape = residual.shape[2:]
    sizes = [size if size == 1 else _OVERSAMPLING * size for size in shape]
    spectrum = torch.view_as_real(torch.fft.fftn(residual, s=sizes, dim=(2, 3, 4))).square().sum(1)
    spectrum = (spectrum[..., 0] + spectrum[..., 1]) / math.prod(shape)
    highest = spectrum
    for axis, size in enumerate(sizes, 1):
        if size > 1:
            around = torch.maximum(highest, torch.maximum(highest.roll(1, axis), highest.roll(-1, axis)))
            highest = torch.maximum(around, torch.maximum(around.roll(1, axis), around.roll(-1, axis)))
    peaks = torch.where(spectrum == highest, spectrum, 0).flatten(1)
    energy, index = peaks.topk(min(_ADDED, peaks.shape[1]), 1)
    _, rows, subcarriers = sizes
    steps = torch.stack([index // (rows * subcarriers), index // subcarriers % rows, index % subcarriers], -1)
    place = steps / torch.tensor(sizes, device=index.device)
    apart = (math.pi * (place[:, :, None] - place[:, None])).sin().abs() * torch.tensor(shape, device=index.device)
    sidelobe = (1 / apart.square().clamp_min(1)).prod(-1).tril(-1)  # a bound of the Dirichlet kernel
    explained = (sidelobe @ energy[..., None])[..., 0]
    return place, (energy > threshold) & (energy > _CLEAR * explained) & (energy > _BELOW * energy[:, :1])
