"""Motion: Clarke's spectrum on independent antennas, from the shift of each ray to the correlation of the channel over time."""

import pytest
import torch
from scipy.special import j0

from wirelessgym.channel import Channel
from wirelessgym.channel.clusters import SPEED_OF_LIGHT_MPS
from wirelessgym.registry import load_scenario

EPISODES, USERS, SPEED_KMH = 600, 16, 60


@pytest.fixture(scope="module")
def moving():
    overrides = {"speed_kmh": SPEED_KMH, "panel.rows": 1, "panel.columns": 1, "num_users": USERS, "slot_duration_s": 1e-4}
    channel = Channel(load_scenario("rayleigh-32", overrides), USERS, 1)
    return channel, channel.sample(torch.zeros(EPISODES, dtype=torch.int64), torch.arange(EPISODES))


def max_doppler_hz(scenario):
    return SPEED_KMH / 3.6 * scenario.carrier_frequency_hz / SPEED_OF_LIGHT_MPS


def test_the_speed_of_light_and_kilometres_per_hour_make_the_doppler_shift(moving):
    assert max_doppler_hz(moving[0].scenario) == pytest.approx(133.43, abs=0.01)


def test_waves_shift_up_to_the_maximum_and_half_its_square_on_average(moving):
    channel, drop = moving
    ratio = drop.rays.doppler_hz / max_doppler_hz(channel.scenario)
    assert float(ratio.abs().max()) == pytest.approx(1, abs=1e-4)
    assert float(ratio.square().mean()) == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("turns", [0.2, 0.3827, 0.6])  # J0 is zero at 0.3827 turns, where it is steep
def test_the_channel_decorrelates_over_time_as_a_bessel_function(moving, turns):
    channel, drop = moving
    slots = round(turns / max_doppler_hz(channel.scenario) / channel.grid.slot_s)
    h = channel.response(drop, torch.zeros(EPISODES, dtype=torch.int64), slots + 1).flatten(0, 1)[..., 0, 0, 0]
    lag_s = slots * channel.grid.slot_s
    correlation = (h[:, 0].conj() * h[:, -1]).mean() / h.abs().square().mean()
    expected = j0(2 * torch.pi * max_doppler_hz(channel.scenario) * lag_s)
    assert float(correlation.real) == pytest.approx(float(expected), abs=0.03) and abs(float(correlation.imag)) < 0.03
