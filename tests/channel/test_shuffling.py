"""Shuffled rays: the permutations are those of a sort, all equally likely, and Sionna's own."""

import pytest
import torch

from wirelessgym.channel.rays import SUB_CLUSTERS
from wirelessgym.channel.shuffling import coupling_orders, short_argsort, take_clusters

STATISTIC_5_SIGMA = 5


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 7, 20, 32])
def test_short_rows_are_sorted_as_torch_sorts_them(count):
    keys = normal(500, count) * torch.tensor([1e-30, 1.0, 1e30]).repeat(167)[:500, None]
    assert torch.equal(short_argsort(keys), keys.argsort(dim=-1, stable=True))


def test_equal_keys_keep_their_order():
    keys = torch.tensor([[2.0, -1.0, 2.0, -1.0, 2.0]])
    assert short_argsort(keys).tolist() == [[1, 3, 0, 2, 4]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parts_come_one_after_another_each_in_its_own_order(dtype):
    keys = torch.tensor([[3.0, 9.0, -2.0, 1.0, 5.0]], dtype=dtype)
    assert short_argsort(keys, torch.tensor([1, 0, 1, 0, 1])).tolist() == [[3, 1, 2, 0, 4]]


def chi_square(orders, expected):
    """Of how often each place holds each ray, in standard deviations from its mean, without the cells that must stay empty."""
    counts = torch.stack([(orders == ray).sum(0) for ray in range(orders.shape[-1])]).double()
    expected = expected * len(orders)
    assert (counts[expected == 0] == 0).all()
    cells = expected > 0
    statistic = ((counts - expected)[cells].square() / expected[cells]).sum()
    # Among n rays, n/(n - 1) times chi-square of (n - 1)^2 degrees of freedom: mean n (n - 1), variance 2 n^2.
    sizes = cells.sum(0).double()
    return float((statistic - (sizes - 1).sum()) / (2 * sizes.sum()).sqrt())


def test_every_ray_is_as_likely_in_every_place():
    orders = coupling_orders(normal(1, 50_000, 20), torch.zeros(1, 0, dtype=torch.int64))[0]
    assert (orders.sort(-1).values == torch.arange(20)).all()
    assert abs(chi_square(orders, torch.full((20, 20), 1 / 20))) < STATISTIC_5_SIGMA


def test_pairs_of_places_hold_every_pair_of_rays_equally_often():
    orders = coupling_orders(normal(1, 100_000, 20, seed=2), torch.zeros(1, 0, dtype=torch.int64))[0]
    counts = torch.bincount(orders[:, 3] * 20 + orders[:, 17], minlength=400).double()
    expected = len(orders) / 380
    assert (counts[torch.arange(20) * 21] == 0).all()  # no ray in two places
    statistic = float((counts[counts > 0] - expected).square().sum() / expected)
    assert abs(statistic - 379) < STATISTIC_5_SIGMA * (2 * 379) ** 0.5


def test_rays_of_the_two_strongest_clusters_stay_in_their_sub_cluster():
    keys = normal(20_000, 5, 20, seed=3)
    strongest = torch.tensor([3, 1]).expand(20_000, 2)
    orders = coupling_orders(keys, strongest)
    part = torch.zeros(20, 20)
    for members in SUB_CLUSTERS:
        block = torch.zeros(20, dtype=torch.bool)
        block[list(members)] = True
        part += (block[:, None] & block) / len(members)
    for cluster in range(5):
        expected = part if cluster in (1, 3) else torch.full((20, 20), 1 / 20)
        assert abs(chi_square(orders[:, cluster], expected)) < STATISTIC_5_SIGMA


def test_clusters_are_taken_with_all_their_rays():
    x = normal(3, 4, 6, 20)
    order = normal(3, 4, 6, seed=5).argsort(-1)
    assert torch.equal(take_clusters(x, order), x.gather(-2, order[..., None].expand_as(x)))
