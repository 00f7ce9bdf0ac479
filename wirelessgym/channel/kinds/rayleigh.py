"""Frequency-flat Rayleigh fading, independent over antennas, with Clarke's Doppler spectrum.

Source: Clarke, "A statistical theory of mobile-radio reception", Bell Syst. Tech. J. 47(6), 1968.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from wirelessgym.channel.clusters import SPEED_OF_LIGHT_MPS
from wirelessgym.channel.drop import Drop
from wirelessgym.channel.kind import ChannelKind
from wirelessgym.channel.randomness import complex_normal, generators, uniform
from wirelessgym.channel.rays import independent_rays
from wirelessgym.scenario import Scenario

NUM_WAVES = 32


class Rayleigh(ChannelKind):
    """Waves arrive from uniform angles with complex Gaussian amplitudes, so every sample is complex Gaussian of unit power."""

    planar: ClassVar[bool] = False

    kind: Literal["rayleigh"] = "rayleigh"

    @property
    def label(self) -> str:
        """See `ChannelSettings.label`."""
        return "Rayleigh"

    @property
    def provenance(self) -> str:
        """See `ChannelSettings.provenance`."""
        return "independent Rayleigh fading with Clarke's Doppler spectrum (Bell Syst. Tech. J. 47(6), 1968)"

    def sample(self, scenario: Scenario, prepared: Any, num_users: int, seed: Tensor, episode: Tensor) -> Drop:
        """See `ChannelKind.sample`."""
        rows = generators(seed, episode, "channel")
        antennas = (scenario.user_panel.num_antennas, scenario.num_antennas)
        gain = complex_normal((num_users, *antennas, 1, NUM_WAVES), rows) / math.sqrt(NUM_WAVES)
        speed = uniform((num_users, 1, 1), rows, *scenario.speed_mps).double()
        angle = uniform((num_users, 1, NUM_WAVES), rows, 0.0, 2 * math.pi).double()
        doppler_hz = speed * scenario.carrier_frequency_hz / SPEED_OF_LIGHT_MPS * angle.cos()
        return Drop(independent_rays(gain, doppler_hz, torch.zeros(len(rows), num_users, 1)))

    def expected_power(self, drop: Drop) -> Tensor:
        """See `ChannelKind.expected_power`: 1, whatever the amplitudes that were drawn; they are the fading."""
        return torch.ones(drop.rays.gain.shape[:2])
