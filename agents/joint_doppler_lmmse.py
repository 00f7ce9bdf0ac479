"""Linear MMSE prediction over beams, delays and slots jointly, with plane waves and Doppler spectra estimated from each episode.

A cluster of rays is nearly one plane wave with one delay, whose amplitude fades with the Doppler spread of the cluster. Waves are
found between the bins of the Fourier transform, Doppler spectra by maximum likelihood of all waves together, and the amplitudes'
linear MMSE prediction takes account of how the waves overlap. What is left is predicted bin by bin.

Sources: `_plane_waves` (the search), `_joint_doppler` (the spectra), `_strong_bins` (the rest); Kay, "Fundamentals of Statistical
Signal Processing: Estimation Theory", 1993, section 12.5 (the predictor).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._joint_doppler import Band, band, overlapping, own_spectra, posterior, shared_spectrum, to_band
from ._plane_waves import PlaneWaves, find_plane_waves
from ._prediction import num_future
from ._strong_bins import grid_shape, highest_doppler, observed_noise_power, predict_bins

_MATRIX_ENTRIES = 2**23  # of the covariances worked on at a time


@dataclass(frozen=True)
class JointDopplerLMMSE(Agent):
    """Decompose the channel into plane waves with Doppler spectra and predict them jointly.

    Args:
        waves: at most, per episode.
        false_alarms: expected number of waves found in noise alone.
    """

    waves: int = 64
    false_alarms: float = 1.0
    tasks = ("channel_prediction",)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64.

        A hidden noise power is estimated from the beam-delay bins.

        Raises:
            ValueError: for less than one wave, or false_alarms that aren't positive.
        """
        if self.waves < 1:
            raise ValueError(f"waves: expected at least 1, got {self.waves}")
        if not self.false_alarms > 0:
            raise ValueError(f"false_alarms: expected more than 0, got {self.false_alarms}")
        csi = obs["csi"]
        noise_power = observed_noise_power(task, obs)
        within = band(csi.shape[1], num_future(task), highest_doppler(task), csi.device)
        chunk = max(1, _MATRIX_ENTRIES // (self.waves * within.basis.shape[1]) ** 2)
        pieces = [self._predict(task, *piece, within) for piece in zip(csi.split(chunk), noise_power.split(chunk), strict=True)]
        return torch.cat(pieces)

    def _predict(self, task: TaskSpec, csi: Tensor, noise_power: Tensor, within: Band) -> Tensor:
        polarisations, *sizes = grid_shape(task)
        slots = csi.unflatten(2, (polarisations, -1)).flatten(3).movedim(1, -1)  # (batch, polarisations, entries, past)
        projected = to_band(slots, within.basis).movedim(-1, 1)
        found = find_plane_waves(
            projected.detach().flatten(1, 2).unflatten(-1, sizes), noise_power, most=self.waves, false_alarms=self.false_alarms
        )
        seen = overlapping(found, projected, noise_power)
        with torch.no_grad():
            spectrum = own_spectra(seen, shared_spectrum(seen, found.present, within), within)
        past, future = (_channel(found, amplitude) for amplitude in posterior(seen, spectrum, within))
        rest = predict_bins(task, {"csi": csi - past.reshape_as(csi), "noise_power": noise_power})
        return rest + future.reshape_as(rest)


def _channel(found: PlaneWaves, amplitude: Tensor) -> Tensor:
    """Sum of waves with amplitudes (batch, waves, slots, polarisations), shape (batch, slots, polarisations, entries)."""
    return torch.einsum("bwtp,bwn->btpn", amplitude.to(found.values.dtype), found.values)
