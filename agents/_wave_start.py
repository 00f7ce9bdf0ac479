"""What is known of an episode's plane waves before they are predicted, and what predicts the rest of its channel.

Where waves are hardly fewer than the bins that stand out of the noise, as with independent antennas, nothing is gained by
them: such an episode is left to its bins, averaged over shifted grids.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._cycle_spinning import spun
from ._joint_doppler import Band, Overlapping, OwnDirections, band, overlapping, own_directions, shared_spectrum, to_band
from ._plane_waves import PlaneWaves, bins_standing_out, find_plane_waves
from ._prediction import num_future
from ._strong_bins import grid_shape, highest_doppler, observed_noise_power, predict_bins

_FEWER = 1.5  # bins per wave, at least
SHIFTED_AXES = 2


@dataclass(frozen=True)
class WaveStart:
    """Plane waves of some episodes.

    Attributes:
        found: where they are; none in episodes that are left to their bins.
        seen: their amplitudes.
        spectrum: their powers at each frequency, shape (batch, waves, FREQUENCIES), float64.
        own: what a further turn of these spectra needs.
        noise_power: shape (batch,).
        within: the band of the Doppler shifts.
    """

    found: PlaneWaves
    seen: Overlapping
    spectrum: Tensor
    own: OwnDirections
    noise_power: Tensor
    within: Band

    def rest(self, task: TaskSpec, csi: Tensor, past: Tensor) -> Tensor:
        """Predict what the waves' estimate leaves of the past, both of csi's shape; shape (batch, future, antennas, carriers)."""
        some = self.found.present.any(1)
        if some.all() or not some.any():
            return _bins(task, csi - past, self.noise_power, 0 if some.any() else SHIFTED_AXES)
        rest = csi.new_empty(len(csi), num_future(task), *csi.shape[2:])
        for rows, axes in ((some, 0), (~some, SHIFTED_AXES)):
            rest[rows] = _bins(task, (csi - past)[rows], self.noise_power[rows], axes)
        return rest


@torch.no_grad()
def start_waves(task: TaskSpec, obs: Obs, *, most: int, false_alarms: float, turns: int) -> WaveStart:
    """Find plane waves, and their Doppler spectra by some turns from a shared one; a hidden noise power is estimated."""
    csi, noise_power = obs["csi"], observed_noise_power(task, obs)
    within = band(csi.shape[1], num_future(task), highest_doppler(task), csi.device)
    polarisations, *sizes = grid_shape(task)
    slots = csi.unflatten(2, (polarisations, -1)).flatten(3).movedim(1, -1)  # (batch, polarisations, entries, past)
    projected = to_band(slots, within.basis).movedim(-1, 1).contiguous()
    snapshots = projected[:, : within.strong].flatten(1, 2).unflatten(-1, sizes)
    found = find_plane_waves(snapshots, noise_power, most=most, false_alarms=false_alarms)
    bins = bins_standing_out(snapshots, noise_power, false_alarms)
    present = found.present & (bins > _FEWER * found.present.sum(1))[:, None]
    found = replace(found, present=present)
    seen = overlapping(found, projected, noise_power)
    spectrum = shared_spectrum(seen, present, within)
    own = own_directions(seen, spectrum, within)
    for _ in range(turns):
        spectrum = own.turn(spectrum)
    return WaveStart(found, seen, spectrum, own, noise_power, within)


def channel_of(found: PlaneWaves, amplitude: Tensor) -> Tensor:
    """Sum of waves with amplitudes (batch, waves, slots, polarisations), shape (batch, slots, antennas, subcarriers)."""
    values = found.values()
    entries = (amplitude.movedim(1, -1).flatten(1, 2).to(values.dtype) @ values).unflatten(1, amplitude.shape[2:])
    return entries.unflatten(-1, (-1, found.sizes[-1])).flatten(2, 3)


def _bins(task: TaskSpec, csi: Tensor, noise_power: Tensor, shifted_axes: int) -> Tensor:
    return spun(task, csi, lambda shifted: predict_bins(task, {"csi": shifted, "noise_power": noise_power}), shifted_axes)
