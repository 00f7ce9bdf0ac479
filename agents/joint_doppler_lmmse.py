"""Linear MMSE prediction over beams, delays and slots jointly, with plane waves and Doppler spectra estimated from each episode.

A cluster of rays is nearly one plane wave with one delay, whose amplitude fades with the Doppler spread of the cluster. Waves are
found between the bins of the Fourier transform, Doppler spectra by maximum likelihood of all waves together, and the amplitudes'
linear MMSE prediction takes account of how the waves overlap. What is left is predicted bin by bin.

Sources: `_plane_waves` (the search), `_joint_doppler` (the spectra), `_strong_bins` (the rest); Kay, "Fundamentals of
Statistical Signal Processing: Estimation Theory", 1993, section 12.5 (the predictor).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._joint_doppler import posterior
from ._wave_start import channel_of, start_waves

_WAVES_AT_A_TIME = 2048  # over all episodes: their covariances fill some hundred MB


@dataclass(frozen=True)
class JointDopplerLMMSE(Agent):
    """Decompose the channel into plane waves with Doppler spectra and predict them jointly.

    Args:
        waves: at most, per episode.
        false_alarms: expected number of waves found in noise alone.
        turns: of the waves' own Doppler spectra: many would turn them into lines. Tuned on training seeds.
    """

    waves: int = 64
    false_alarms: float = 1.0
    turns: int = 2
    tasks = ("channel_prediction",)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64.

        A hidden noise power is estimated from the beam-delay bins.

        Raises:
            ValueError: for less than one wave, false_alarms that aren't positive, or less than 0 turns.
        """
        if self.waves < 1:
            raise ValueError(f"waves: expected at least 1, got {self.waves}")
        if self.turns < 0:
            raise ValueError(f"turns: expected at least 0, got {self.turns}")
        if not self.false_alarms > 0:
            raise ValueError(f"false_alarms: expected more than 0, got {self.false_alarms}")
        pieces = zip(*(value.split(max(1, _WAVES_AT_A_TIME // self.waves)) for value in obs.values()), strict=True)
        return torch.cat([self._predict(task, dict(zip(obs, piece, strict=True))) for piece in pieces])

    def _predict(self, task: TaskSpec, obs: Obs) -> Tensor:
        start = start_waves(task, obs, most=self.waves, false_alarms=self.false_alarms, turns=self.turns)
        past, future = (channel_of(start.found, x) for x in posterior(start.seen, start.spectrum, start.within))
        return start.rest(task, obs["csi"], past) + future
