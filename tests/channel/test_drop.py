"""Drops: positions, sight, velocity and angles that belong to the rays, and stay with them."""

import pytest
import torch

from wirelessgym.channel import Channel
from wirelessgym.channel.clusters import SPEED_OF_LIGHT_MPS
from wirelessgym.registry import load_scenario

SEED, NUMBER = torch.full((6,), 3), torch.arange(6)


def sampled(scenario="uma-nlos-16", users=4, **overrides):
    channel = Channel(load_scenario(scenario, overrides), users, 1)
    return channel, channel.sample(SEED, NUMBER)


def towards_station(drop):
    """Unit vectors from users to the base station."""
    path = drop.bs_position_m[:, None] - drop.user_position_m
    return path / path.norm(dim=-1, keepdim=True)


def unit_vector(angles):
    zenith, azimuth = angles.unbind(-1)
    return torch.stack([zenith.sin() * azimuth.cos(), zenith.sin() * azimuth.sin(), zenith.cos()], -1)


@pytest.mark.parametrize("model", ["uma", "umi", "rma", "inh"])
@pytest.mark.parametrize("sight", ["los", "nlos"])
def test_angles_are_those_of_the_line_between_the_positions(model, sight):
    _, drop = sampled(model=model, sight=sight)
    torch.testing.assert_close(unit_vector(drop.arrival), towards_station(drop), atol=1e-5, rtol=0)
    torch.testing.assert_close(unit_vector(drop.departure), -towards_station(drop), atol=1e-5, rtol=0)
    assert bool(drop.line_of_sight.all()) == (sight == "los") == bool(drop.line_of_sight.any())


def test_the_direct_ray_has_the_doppler_shift_of_the_users_motion():
    channel, drop = sampled(sight="los", speed_kmh=60)
    speed = drop.velocity_mps.norm(dim=-1)
    torch.testing.assert_close(speed, torch.full_like(speed, 60 / 3.6))
    wavelength_m = SPEED_OF_LIGHT_MPS / channel.scenario.carrier_frequency_hz
    expected_hz = (drop.velocity_mps * towards_station(drop)).sum(-1) / wavelength_m
    torch.testing.assert_close(drop.rays.doppler_hz[..., -1, 0].float(), expected_hz, rtol=1e-3, atol=0.05)
    assert drop.rays.doppler_hz.abs().max() <= 60 / 3.6 / wavelength_m * (1 + 1e-6)


def test_users_stand_where_the_scenario_puts_them():
    _, drop = sampled(drop={"min_distance_m": 50, "inter_site_distance_m": 400, "bs_height_m": 20, "ut_height_m": 2})
    distance = (drop.user_position_m - drop.bs_position_m[:, None])[..., :2].norm(dim=-1)
    assert distance.min() >= 50 and distance.max() <= 400 / 3**0.5
    assert (drop.bs_position_m[:, 2] == 20).all() and (drop.user_position_m[..., 2] == 2).all()


def test_mixed_sight_is_drawn_per_user_and_carries_the_power_of_the_direct_ray():
    _, drop = sampled(users=8, sight="mixed")
    direct = drop.rays.gain[..., 0, -1, 0].abs()[:, :, 0]
    assert drop.line_of_sight.any() and not drop.line_of_sight.all()
    assert torch.equal(direct > 0, drop.line_of_sight)


@pytest.mark.parametrize(
    ("scenario", "overrides", "unknown"),
    [
        ("uma-nlos-16", {}, set()),
        ("cdl-c-32", {}, {"user_position_m", "bs_position_m", "departure", "arrival"}),
        ("cdl-c-32", {"channel.profile": "d"}, {"user_position_m", "bs_position_m"}),
        ("uma-nlos-16", {"model": "tdl-d"}, {"user_position_m", "bs_position_m", "departure", "arrival", "velocity_mps"}),
        (
            "rayleigh-32",
            {},
            {"user_position_m", "bs_position_m", "departure", "arrival", "velocity_mps", "line_of_sight"},
        ),
    ],
)
def test_what_a_kind_does_not_know_is_none_and_nothing_is_nan(scenario, overrides, unknown):
    _, drop = sampled(scenario, **overrides)
    entries = {name: value for name, value in vars(drop).items() if name != "rays"}
    assert {name for name, value in entries.items() if value is None} == unknown
    assert all(value.isfinite().all() for value in entries.values() if value is not None)


@pytest.mark.parametrize(("letter", "sight"), [("c", False), ("d", True)])
def test_delay_lines_with_a_direct_path_have_line_of_sight(letter, sight):
    for kind in ("cdl", "tdl"):
        _, drop = sampled("cdl-c-32", **{"channel.kind": kind, "channel.profile": letter})
        assert bool(drop.line_of_sight.all()) == sight == bool(drop.line_of_sight.any())


def test_a_later_drop_leaves_an_earlier_one_alone():
    channel, drop = sampled(sight="mixed")
    before = {name: value.clone() for name, value in vars(drop).items() if name != "rays"}
    channel.sample(SEED + 1, NUMBER)
    assert all(torch.equal(value, getattr(drop, name)) for name, value in before.items())


@pytest.mark.parametrize("scenario", ["uma-nlos-16", "cdl-c-32", "rayleigh-32"])
def test_users_with_several_antennas_have_the_same_bits_alone_and_among_others(scenario):
    overrides = {"user_panel.columns": 2, "user_panel.polarisation": "dual", "panel.rows": 2, "panel.columns": 3}
    channel, drop = sampled(scenario, users=3, **overrides)
    together = channel.response(drop, NUMBER, 2)
    assert together.shape == (6, 3, 2, 4, 6, 1)
    for rows in ([4], [5, 0, 2]):
        alone = channel.response(channel.sample(SEED[rows], NUMBER[rows]), NUMBER[rows], 2)
        assert torch.equal(alone, together[rows])


def test_a_delay_lines_direct_path_has_a_zenith_and_an_azimuth_for_each_user():
    _, drop = sampled("cdl-c-32", users=3, **{"channel.profile": "d"})
    assert drop.departure.shape == drop.arrival.shape == (6, 3, 2)
    for angles in (drop.departure, drop.arrival):
        assert (angles[..., 0] >= 0).all() and (angles[..., 0] <= torch.pi).all()
        assert (angles == angles[:1, :1]).all()  # the line fixes them
