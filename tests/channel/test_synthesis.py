"""Synthesis against the sum of rays written out, for panels, users and bands of odd sizes."""

import math

import pytest
import torch

from wirelessgym.channel.rays import SUB_CLUSTERS, Rays
from wirelessgym.channel.synthesis import Grid, synthesise

SLOT_S = 1e-3
SPACING_HZ = 30e3


def some_rays(batch, users, rx, ports, clusters, rays, *, split):
    generator = torch.Generator().manual_seed(4)

    def uniform(*shape):
        return torch.rand(batch, users, *shape, generator=generator)

    return Rays(
        gain=torch.randn(batch, users, rx, ports, clusters, rays, dtype=torch.complex64, generator=generator),
        horizontal=uniform(clusters, rays) - 0.5,
        vertical=uniform(clusters, rays) - 0.5,
        doppler_hz=(200 * (uniform(clusters, rays) - 0.5)).double(),
        delay_s=2e-6 * uniform(clusters + 4 * split),
    )


def written_out(rays, grid, start_s, num_slots):
    """``sum_r gain_r e^{j 2 pi (nu_r t + antenna phase - f tau_r)}`` in double precision, all rays at once."""

    def wave(cycles):
        return torch.polar(torch.ones_like(cycles), 2 * math.pi * cycles)

    # Phases count from the middle of the panel, frequencies from the middle of the band, its lower half first.
    column = torch.arange(grid.columns).double() - (grid.columns - 1) / 2
    row = torch.arange(grid.rows).double() - (grid.rows - 1) / 2
    tone_hz = (torch.arange(grid.num_subcarriers) - grid.num_subcarriers // 2).double() * grid.subcarrier_spacing_hz
    time_s = start_s[:, None].double() + torch.arange(num_slots).double() * grid.slot_s
    moving = wave(rays.doppler_hz[..., None] * time_s[:, None, None, None])
    across, down = wave(rays.horizontal[..., None].double() * column), wave(rays.vertical[..., None].double() * row)
    tones = wave(-rays.ray_delay_s()[..., None] * tone_hz)
    gain = rays.gain.to(torch.complex128)
    return torch.einsum("bukpcr,bucrt,bucrx,bucry,bucrf->butkpxyf", gain, moving, across, down, tones).flatten(4, 6)


@pytest.mark.parametrize(
    ("links", "antennas", "paths", "split", "band", "num_slots"),
    [
        ((1, 1), (1, 1, 1, 1), (1, 1), False, 1, 1),
        ((2, 3), (1, 2, 3, 2), (5, 7), False, 5, 4),
        ((7, 5), (2, 1, 2, 5), (3, 16), False, 2, 3),
        ((3, 2), (1, 2, 5, 2), (4, 20), True, 6, 5),
        ((1, 1), (1, 1, 8, 4), (12, 20), True, 9, 20),
        ((11, 4), (1, 1, 1, 1), (2, 3), False, 48, 1),
    ],
)
def test_the_channel_is_the_sum_of_its_rays(links, antennas, paths, split, band, num_slots):
    rx, ports, columns, rows = antennas
    rays = some_rays(*links, rx, ports, *paths, split=split)
    grid = Grid(columns, rows, band, SPACING_HZ, SLOT_S)
    start_s = torch.linspace(-0.3, 5.0, links[0])
    found = synthesise(rays, grid, start_s, num_slots)
    expected = written_out(rays, grid, start_s, num_slots)
    assert found.shape == expected.shape and found.dtype == torch.complex64
    rms = expected.abs().square().mean().sqrt()
    assert float((found - expected).abs().max() / rms) < 1e-4


def test_sub_clusters_of_a_split_cluster_hold_each_ray_once_at_the_standards_delays():
    assert sorted(ray for members in SUB_CLUSTERS for ray in members) == list(range(20))
    assert [len(members) for members in SUB_CLUSTERS] == [10, 6, 4]  # powers 10/20, 6/20, 4/20: TR 38.901, table 7.5-5
    rays = some_rays(2, 1, 1, 1, 3, 20, split=True)
    delay = rays.ray_delay_s()
    for cluster in range(2):
        for part, members in enumerate(SUB_CLUSTERS):
            for ray in members:
                assert torch.equal(delay[:, :, cluster, ray].float(), rays.delay_s[:, :, 3 * cluster + part])
    assert torch.equal(delay[:, :, 2].float(), rays.delay_s[:, :, 6:].expand(-1, -1, 20))
