"""Channels whose antennas fade independently: tapped delay lines and i.i.d. Rayleigh fading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wirelessgym.channel.clusters import SPEED_OF_LIGHT_MPS
from wirelessgym.channel.randomness import complex_normal, uniform
from wirelessgym.channel.rays import Rays
from wirelessgym.scenario import Scenario

NUM_SINUSOIDS = 20  # Sionna's default for tapped delay lines
NUM_WAVES = 32


def tdl_model(scenario: Scenario) -> Any:
    """Return Sionna's tapped delay line of a scenario, from which the profile is read."""
    from sionna.phy.channel.tr38901 import TDL

    slow, fast = scenario.speed_mps
    return TDL(
        scenario.model[-1].upper(),
        scenario.delay_spread_s,
        scenario.carrier_frequency_hz,
        min_speed=slow,
        max_speed=fast,
        num_tx_ant=scenario.num_antennas,
        spec_version=scenario.spec_version,
        precision="single",
        device="cpu",
    )


def draw_tdl(model: Any, scenario: Scenario, num_users: int, rows: Sequence[torch.Generator]) -> Rays:
    """Draw a sum-of-sinusoids realisation of Sionna's profile, in the order in which Sionna draws it.

    Sionna forms it at once for all times; keeping the sinusoids instead leaves time an argument. Source: TR 38.901 V19.2, section
    7.7.2; Xiao, Zheng, Beaulieu, IEEE Trans. Wireless Commun. 5(12), 2006.
    """
    taps, antennas, sinusoids = model.num_clusters, scenario.num_antennas, NUM_SINUSOIDS
    max_doppler_hz = scenario.carrier_frequency_hz / SPEED_OF_LIGHT_MPS
    slow, fast = (speed * max_doppler_hz for speed in scenario.speed_mps)
    doppler_hz = uniform((num_users, 1, 1), rows, slow, fast).double()
    angle = 2 * math.pi / sinusoids * torch.arange(1, sinusoids + 1) + uniform(
        (num_users, taps, sinusoids), rows, -math.pi / sinusoids, math.pi / sinusoids
    )
    phase = uniform((num_users, antennas, taps, sinusoids), rows, -math.pi, math.pi)
    power = model.mean_powers.clone()
    if model.los:
        power[0] -= model.mean_power_los
    gain = torch.polar((power / sinusoids).sqrt()[:, None].expand_as(phase), phase)
    shift_hz = doppler_hz * angle.double().cos()
    if model.los:
        direct = torch.polar(
            model.mean_power_los.sqrt().expand(len(rows), num_users), uniform((num_users,), rows, -math.pi, math.pi)
        )
        extra = gain.new_zeros(len(rows), num_users, antennas, taps, 1)
        extra[..., 0, 0] = direct[..., None]
        gain = torch.cat([gain, extra], -1)
        shift_hz = torch.cat([shift_hz, 0.7 * doppler_hz.expand(-1, -1, taps, 1)], -1)
    return _independent(gain, shift_hz, model.delays.expand(len(rows), num_users, taps).clone())


def draw_rayleigh(scenario: Scenario, num_users: int, rows: Sequence[torch.Generator]) -> Rays:
    """Draw frequency-flat Rayleigh fading, independent over antennas, with Clarke's Doppler spectrum.

    Waves arrive from uniform angles with complex Gaussian amplitudes, so every sample is exactly complex Gaussian of unit power.
    Source: Clarke, Bell Syst. Tech. J. 47(6), 1968.
    """
    gain = complex_normal((num_users, scenario.num_antennas, 1, NUM_WAVES), rows) / math.sqrt(NUM_WAVES)
    speed = uniform((num_users, 1, 1), rows, *scenario.speed_mps).double()
    angle = uniform((num_users, 1, NUM_WAVES), rows, 0.0, 2 * math.pi).double()
    shift_hz = speed * scenario.carrier_frequency_hz / SPEED_OF_LIGHT_MPS * angle.cos()
    return _independent(gain, shift_hz, torch.zeros(len(rows), num_users, 1))


def _independent(gain: Tensor, doppler_hz: Tensor, delay_s: Tensor) -> Rays:
    still = torch.zeros(doppler_hz.shape)
    return Rays(gain, still, still, doppler_hz, delay_s)
