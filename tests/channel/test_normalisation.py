"""Normalisation: power is scaled by what is expected of small-scale fading, and fades; realised conventions take fading out."""

import math

import pytest
import torch

from wirelessgym.channel import Channel
from wirelessgym.registry import load_scenario

MOST = torch.tensor([True, True, False, True])
# Every kind; with and without a direct ray, split clusters, polarisations, patterns, several antennas at the user.
SETTINGS = {
    "uma": ("uma-nlos-16", {}),
    "uma with path loss": ("uma-hard-16", {"normalisation": "user"}),
    "umi in sight": ("umi-nlos-32", {"sight": "los"}),
    "rma mixed, dual": (
        "uma-nlos-16",
        {"model": "rma", "sight": "mixed", "panel.polarisation": "dual", "panel.element": "38.901"},
    ),
    "inh, user's panel": ("uma-nlos-16", {"model": "inh", "user_panel.columns": 2, "user_panel.polarisation": "dual"}),
    "cdl-c": ("cdl-c-32", {}),
    "cdl-d, dual": ("cdl-c-32", {"channel.profile": "d", "panel.polarisation": "dual"}),
    "tdl-a": ("uma-nlos-16", {"model": "tdl-a"}),
    "tdl-e": ("uma-nlos-16", {"model": "tdl-e"}),
    "rayleigh": ("rayleigh-32", {"normalisation": "user", "panel.columns": 2}),
}


def normalised(scenario, episodes, users=4, present=None, slots=10, **overrides):
    channel = Channel(load_scenario(scenario, overrides), users, 1)
    drop = channel.sample(torch.full((episodes,), 3), torch.arange(episodes))
    taking_part = torch.ones(users, dtype=torch.bool) if present is None else present
    return channel, drop, *channel.normalised(drop, taking_part.expand(episodes, users), 0, slots)


def power_of_slot(channel, drop, slot):
    """|h|^2, mean over pairs of antennas, shape (batch, users)."""
    return channel.response(drop, torch.full((len(drop.rays.gain),), slot)).abs().square().mean((2, 3, 4, 5))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_channel_has_unit_power_on_average_over_episodes_in_any_slot_and_fades(name):
    scenario, overrides = SETTINGS[name]
    channel, _, drop, said = normalised(scenario, 600, users=2, **overrides)
    torch.testing.assert_close(said, torch.ones(600, 2))
    for slot in (0, 9, 1000):
        power = power_of_slot(channel, drop, slot).flatten()
        assert abs(float(power.mean()) - 1) < 4 * float(power.std()) / math.sqrt(len(power))
        # Of the order of the number of ways that fade apart: hundreds at most.
        assert float(power.std()) > 0.05


@pytest.mark.parametrize("name", SETTINGS)
def test_given_the_rays_the_average_over_time_is_the_expected_power(name):
    scenario, overrides = SETTINGS[name]
    channel, _, drop, _ = normalised(scenario, 20, users=2, speed_kmh=30, **overrides)
    long = channel.realised_power(drop, 0, 40_000)
    # 32 samples in time, some seconds apart: each user's mean has come closer to 1 than one slot's power is.
    once = power_of_slot(channel, drop, 0)
    assert float((long - 1).square().mean()) < 0.3 * float((once - 1).square().mean())


@pytest.mark.parametrize("realised", ["", "-realised"])
def test_normalisation_per_user_scales_the_channel_and_moves_nobody(realised):
    channel, before, scaled, power = normalised("uma-nlos-16", 6, present=MOST, path_loss=True, normalisation=f"user{realised}")
    torch.testing.assert_close(power, MOST.expand(6, 4).float())
    measured = channel.realised_power(scaled, 0, 10) if realised else channel.kind.expected_power(scaled)
    torch.testing.assert_close(measured, MOST.expand(6, 4).float())
    assert scaled.user_position_m is before.user_position_m and channel.kind.expected_power(before).max() < 1e-6


@pytest.mark.parametrize("realised", ["", "-realised"])
def test_normalisation_per_sample_keeps_the_ratios_between_users(realised):
    channel, before, scaled, power = normalised("uma-hard-16", 6, present=MOST, normalisation=f"sample{realised}")
    torch.testing.assert_close(power[:, MOST].mean(-1), torch.ones(6))
    measure = (lambda drop: channel.realised_power(drop, 0, 10)) if realised else channel.kind.expected_power
    was, now = measure(before)[:, MOST], measure(scaled)[:, MOST]
    torch.testing.assert_close(now / now[:, :1], was / was[:, :1])
    torch.testing.assert_close(now, power[:, MOST])


def test_no_normalisation_leaves_the_channel_and_says_what_is_expected_of_it():
    _, before, scaled, power = normalised("uma-hard-16", 6, normalisation="none")
    assert torch.equal(scaled.rays.gain, before.rays.gain)
    torch.testing.assert_close(power, before.rays.power())


def test_no_slot_of_the_episode_enters_an_expected_scale():
    _, _, short, _ = normalised("uma-nlos-16", 4, slots=1)
    _, _, long, _ = normalised("uma-nlos-16", 4, slots=500)
    assert torch.equal(short.rays.gain, long.rays.gain)
    _, _, short, _ = normalised("uma-nlos-16", 4, slots=1, normalisation="user-realised")
    _, _, long, _ = normalised("uma-nlos-16", 4, slots=500, normalisation="user-realised")
    assert not torch.equal(short.rays.gain, long.rays.gain)


def test_rayleigh_fading_stays_rayleigh():
    # |h|^2 of one antenna is exponential, so its variance is 1: a scale that knew the amplitudes drawn would shrink it.
    settings = {"normalisation": "user", "panel.rows": 1, "panel.columns": 1}
    channel, _, drop, _ = normalised("rayleigh-32", 10_000, users=1, **settings)
    power = power_of_slot(channel, drop, 0)
    assert float(power.var()) == pytest.approx(1, abs=4 * math.sqrt(8 / 10_000))  # the fourth central moment is 9
