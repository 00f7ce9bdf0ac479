"""Beam-delay bins with Doppler spectra: the strong ones have one of their own, the weak ones share one.

A ray sits in few bins of beam and delay, where it is far above the noise; the bins next to it hold the same ray. Bins are
chosen per episode, so any panel and bandwidth will do.

Source of the domain: Yin et al., IEEE J. Sel. Areas Commun. 38(12), 2020; of the spectra, see `_doppler`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._doppler import predict, predict_alike, spectra
from ._floors import LEAST_NOISE, TINY
from ._prediction import estimated_noise_power, from_bins, max_doppler_hz, num_future, to_bins

BINS = 160  # that get a spectrum of their own
STRONGEST = 40  # of them, whose spectra say nothing about weak bins
HIGHEST_DOPPLER = 0.13  # cycles per slot, at least: 100 km/h at 2.4 GHz and 0.5 ms is 0.111
DOPPLER_MARGIN = 1.15  # over the scenario's highest speed


@dataclass(frozen=True)
class StrongBins:
    """All bins of an observation, and what is known of the strong ones, strongest first.

    Attributes:
        bins: of the whole observation, shape (batch, past, beams * delays), complex64.
        chosen: which of them are strong, shape (batch, strong), int64.
        snapshots: values of each strong bin and its neighbours, itself first, shape (batch, strong, 7, past), complex64.
        spectrum: power of each strong bin at each frequency, shape (batch, strong, FREQUENCIES), float32.
        noise_power: shape (batch,), watt.
    """

    bins: Tensor
    chosen: Tensor
    snapshots: Tensor
    spectrum: Tensor
    noise_power: Tensor

    @property
    def series(self) -> Tensor:
        """Values of each strong bin, shape (batch, strong, past), complex64."""
        return self.snapshots[:, :, 0]


def strong_bins(task: TaskSpec, obs: Obs) -> StrongBins:
    """Transform an observation to bins, choose the `BINS` strongest, and estimate their Doppler spectra.

    A hidden noise power is estimated from the bins.
    """
    grid = to_bins(task, obs["csi"])
    noise_power = _noise_power(obs, grid)
    bins = grid.flatten(2)
    power = bins.abs().square().mean(1)
    chosen = power.topk(min(BINS, power.shape[-1]), -1).indices
    nearby = neighbours(chosen, grid_shape(task))
    snapshots = bins.transpose(1, 2).gather(1, nearby.flatten(1)[..., None].expand(-1, -1, bins.shape[1]))
    snapshots = snapshots.unflatten(1, nearby.shape[1:])
    return StrongBins(bins, chosen, snapshots, spectra(snapshots, noise_power, highest_doppler(task)), noise_power)


def observed_noise_power(task: TaskSpec, obs: Obs) -> Tensor:
    """Noise power of each episode, shape (batch,), float32, watt: estimated if hidden, and never zero."""
    return _noise_power(obs, to_bins(task, obs["csi"]))


def _noise_power(obs: Obs, grid: Tensor) -> Tensor:
    noise_power = obs["noise_power"] if "noise_power" in obs else estimated_noise_power(grid).float()
    noise_power = torch.maximum(noise_power, LEAST_NOISE * grid.abs().square().flatten(1).mean(-1))
    return torch.where(noise_power > 0, noise_power, 1)  # silence: any will do


def predict_bins(task: TaskSpec, obs: Obs) -> Tensor:
    """Linear MMSE prediction of every bin by itself, shape (batch, future, antennas, subcarriers), complex64."""
    start = strong_bins(task, obs)
    return assemble(task, start, predict_strong(task, start), predict_weak(task, start))


def predict_strong(task: TaskSpec, start: StrongBins) -> Tensor:
    """Linear MMSE prediction of the strong bins, shape (batch, strong, future), complex64."""
    noise = start.noise_power[:, None].expand(start.chosen.shape)
    return predict(start.series, start.spectrum, noise, num_future(task), highest_doppler(task))


def predict_weak(task: TaskSpec, start: StrongBins) -> Tensor:
    """Linear MMSE prediction of all bins as if they were weak, shape (batch, beams * delays, future), complex64.

    Each has a power of its own; the spectrum is the mean of the strong bins' but for the `STRONGEST`.
    """
    shared = start.spectrum[:, STRONGEST:].sum(1)
    shared = shared / shared.sum(-1, keepdim=True).clamp_min(TINY)  # no weak bins: nothing is shared
    power = (start.bins.abs().square().mean(1) - start.noise_power[:, None]).clamp_min(0)
    return predict_alike(start.bins.mT, power, shared, start.noise_power, num_future(task), highest_doppler(task))


def assemble(task: TaskSpec, start: StrongBins, strong: Tensor, weak: Tensor) -> Tensor:
    """The whole channel from predictions of strong and of all bins, shape (batch, future, antennas, subcarriers), complex64."""
    future = weak.scatter(1, start.chosen[..., None].expand_as(strong), strong).mT
    return from_bins(task, future.unflatten(2, (task.scenario.num_antennas, -1)))


def highest_doppler(task: TaskSpec) -> float:
    """Maximum Doppler frequency considered, cycles per slot."""
    speed = torch.tensor(task.scenario.speed_mps[1])
    return max(HIGHEST_DOPPLER, DOPPLER_MARGIN * float(max_doppler_hz(task, speed)) * task.scenario.slot_duration_s)


def grid_shape(task: TaskSpec) -> tuple[int, int, int, int]:
    """Number of polarisations, columns, rows and delays: the axes of the bins, in order."""
    panel = task.scenario.panel
    polarisations = panel.num_antennas // (panel.rows * panel.columns)
    return polarisations, panel.columns, panel.rows, task.scenario.num_subcarriers


def coordinates(chosen: Tensor, shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Polarisation, column, row and delay of each bin, of the same shape as ``chosen``."""
    _, columns, rows, delays = shape
    delay = chosen % delays
    row = chosen // delays % rows
    column = chosen // (delays * rows) % columns
    return chosen // (delays * rows * columns), column, row, delay


def neighbours(chosen: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    """Indices of each bin and those one step away in beam and delay, shape (batch, bins, 7)."""
    _, columns, rows, delays = shape
    polarisation, column, row, delay = coordinates(chosen, shape)
    steps = ((0, 0, 0), (0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))
    found = [
        ((polarisation * columns + (column + c) % columns) * rows + (row + r) % rows) * delays + (delay + d) % delays
        for c, r, d in steps
    ]
    return torch.stack(found, -1)
