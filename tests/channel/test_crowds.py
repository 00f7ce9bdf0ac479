"""Crowds: users that stand together, see the same clusters, and fade on their own; each for itself is a user like any other."""

import math

import pytest
import torch

from wirelessgym.channel import Channel
from wirelessgym.channel.crowds import gathered
from wirelessgym.channel.kinds.system_level import place_users, sionna_model
from wirelessgym.channel.randomness import generators
from wirelessgym.registry import load_scenario
from wirelessgym.scenario import ScenarioError

ALONE = {"channel.spatial_consistency": False, "channel.drop": {"users_per_group": None, "group_radius_m": None}}
SAME_GROUP = (torch.arange(8)[:, None] // 4 == torch.arange(8) // 4) & ~torch.eye(8, dtype=torch.bool)
OTHER_GROUP = torch.arange(8)[:, None] // 4 != torch.arange(8) // 4


def dropped(episodes=100, seed=3, **overrides):
    channel = Channel(load_scenario("uma-crowd-32", overrides), 8, 1)
    return channel, channel.sample(torch.full((episodes,), seed), torch.arange(episodes))


def beam_covariances(drop, columns=8, rows=4):
    """Each user's covariance in the domain of beams, without its power, shape (batch, users, beams, beams)."""
    rays = drop.rays
    power = rays.gain[:, :, 0, 0].abs().square().flatten(2)

    def steering(cycles, size):
        element = torch.polar(torch.tensor(1.0), 2 * math.pi * cycles.flatten(2)[..., None, :] * torch.arange(size)[:, None])
        return torch.fft.fft(element, dim=-2, norm="ortho")

    beams = (steering(rays.horizontal, columns)[:, :, :, None] * steering(rays.vertical, rows)[:, :, None]).flatten(2, 3)
    covariance = (beams * power[:, :, None]) @ beams.mH
    return covariance / covariance.flatten(2).norm(dim=-1)[..., None, None]


def likeness(covariances):
    """Correlation of the covariances of each pair of users, shape (batch, users, users); 1 for the same up to power."""
    flat = covariances.flatten(2)
    return (flat @ flat.mH).real


def spreads(drop):
    """Rms spread of each user's rays in delay, and in the phase advance from column to column, shape (2, batch, users)."""
    power = drop.rays.gain[:, :, 0, 0].abs().square().flatten(2)
    power = power / power.sum(-1, keepdim=True)
    values = torch.stack([drop.rays.ray_delay_s().float(), drop.rays.horizontal]).flatten(3)
    mean = (power * values).sum(-1, keepdim=True)
    return (power * (values - mean).square()).sum(-1).sqrt()


def test_the_covariances_of_a_groups_users_are_alike_the_more_the_closer_they_stand():
    mean = {}
    for radius_m in (1, 5, 20, 60):
        _, drop = dropped(**{"channel.drop.group_radius_m": radius_m})
        alike = likeness(beam_covariances(drop))
        mean[radius_m] = float(alike[:, SAME_GROUP].mean())
        assert float(alike[:, OTHER_GROUP].mean()) < 0.4
    assert mean[1] > 0.9 > mean[5] > mean[20] > mean[60] > 0.4
    _, drop = dropped(**ALONE)
    assert float(likeness(beam_covariances(drop))[:, SAME_GROUP].mean()) < 0.4


def test_beside_the_direction_of_the_group_its_clusters_are_shared():
    shared, independent = (
        float(likeness(beam_covariances(dropped(**{"channel.drop.group_radius_m": 1} | options)[1]))[:, SAME_GROUP].mean())
        for options in ({}, {"channel.spatial_consistency": False})
    )
    assert 1 - shared < 0.5 * (1 - independent)


@pytest.mark.parametrize(("model", "decorrelation_m"), [("uma", 50), ("umi", 15), ("rma", 60), ("inh", 10)])
def test_what_clusters_are_drawn_from_decorrelates_over_the_distance_in_the_table(model, decorrelation_m):
    from wirelessgym.channel.sionna_hooks import episode_randomness

    scenario = load_scenario("uma-crowd-32", {"channel.model": model, "channel.drop.group_radius_m": 20})
    rows = generators(torch.full((6,), 3), torch.arange(6), "channel")
    sionnas = sionna_model(scenario, scenario.channel)
    with episode_randomness(rows), torch.no_grad():
        place_users(sionnas, scenario, scenario.channel, 8, rows)
        field = sionnas._ray_sampler._spatial_normal((6, 1, 8, 20_000))[:, 0]
    place = sionnas._scenario.ut_loc[..., :2]
    expected = (-torch.cdist(place, place) / decorrelation_m).exp()
    torch.testing.assert_close(field @ field.mT / 20_000, expected, atol=5 * math.sqrt(2 / 20_000), rtol=0)


def test_neighbours_fade_independently():
    channel, drop = dropped(400, **{"channel.drop.group_radius_m": 0.5})
    h = channel.response(drop, torch.zeros(400))[:, :, 0, 0, :, 0]
    products = (h[:, 0].conj() * h[:, 1]).sum(-1) / (h[:, 0].norm(dim=-1) * h[:, 1].norm(dim=-1))
    assert abs(complex(products.mean())) < 4 * float(products.abs().square().mean().sqrt()) / math.sqrt(400)
    assert float(products.abs().max()) < 0.9999


@pytest.mark.parametrize("model", ["uma", "umi", "inh"])
def test_each_user_for_itself_has_the_statistics_of_any_other(model):
    def of_first_users(seed, **options):
        channel = Channel(load_scenario("uma-crowd-32", {"channel.model": model} | options), 2, 1)
        return spreads(channel.sample(torch.full((700,), seed), torch.arange(700)))[:, :, 1]  # the second: blended from both

    for crowd, usual in zip(of_first_users(3), of_first_users(4, **ALONE), strict=True):
        both = torch.cat([crowd, usual]).sort().values
        below = [torch.searchsorted(x.sort().values, both, right=True) / len(x) for x in (crowd, usual)]
        distance = float((below[0] - below[1]).abs().max())
        assert distance < 1.95 * math.sqrt(2 / 700)  # Kolmogorov-Smirnov, two samples, p below 0.001


def test_users_stand_in_the_disc_of_their_group_and_not_at_the_station():
    _, drop = dropped(300, **{"channel.drop.group_radius_m": 20})
    place = drop.user_position_m[..., :2].unflatten(1, (2, 4))
    apart = (place[:, :, :, None] - place[:, :, None]).norm(dim=-1)
    assert apart.max() <= 40 and (apart > 20).any()
    assert place.norm(dim=-1).min() >= 35 - 1e-3  # table 7.2-1
    assert (place[:, 0, 0] - place[:, 1, 0]).norm(dim=-1).mean() > 100


def test_places_fill_the_disc_evenly_around_the_first_of_each_group():
    rows = generators(torch.zeros(500, dtype=torch.int64), torch.arange(500), "place")
    centre = torch.tensor([100.0, -50.0, 1.5])
    drawn = torch.cat([centre.expand(500, 1, 3), torch.zeros(500, 2, 3), centre.expand(500, 1, 3)], 1)
    moved = gathered(drawn, 3, 8.0, rows) - centre
    assert bool((drawn[..., 2] == gathered(drawn, 3, 8.0, rows)[..., 2]).all())
    squared = moved[..., :2].square().sum(-1)
    assert squared.max() <= 64.01
    assert float(squared.mean()) == pytest.approx(32, rel=0.06)  # uniform in area
    assert float(moved[..., :2].mean().abs()) < 0.5


def test_a_group_needs_a_size_and_a_radius():
    with pytest.raises(ScenarioError, match="users_per_group and group_radius_m come together, got 3 and None"):
        load_scenario("uma-nlos-16", {"channel.drop.users_per_group": 3})


def test_crowds_gather_indoors_within_the_walls():
    _, drop = dropped(100, **{"channel.model": "inh", "channel.drop.group_radius_m": 30})
    x, y, _ = drop.user_position_m.unbind(-1)
    assert x.min() >= 0 and x.max() <= 50 and y.abs().max() <= 60
