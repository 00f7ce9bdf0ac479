"""The channel through a beam is the panel's channel times the beam's weights."""

import math
from dataclasses import replace

import pytest
import torch

from wirelessgym.channel import Channel
from wirelessgym.channel.beams import through_strongest_beam
from wirelessgym.channel.synthesis import synthesise
from wirelessgym.registry import load_scenario


def sampled(scenario, **overrides):
    channel = Channel(load_scenario(scenario, {"num_users": 2, **overrides}), 2, 6)
    episodes = torch.arange(3)
    return channel, channel.sample(torch.full((3,), 5), episodes).rays


def beam_weights(rows, columns, ports):
    """Every beam's weights, shape (ports * columns * rows beams, antennas); antenna index is column * rows + row."""

    def transform(size):
        n = torch.arange(size) - (size - 1) / 2
        return torch.polar(torch.tensor(size**-0.5), 2 * math.pi * torch.arange(size)[:, None] * n / size)

    return torch.block_diag(*[torch.kron(transform(columns), transform(rows))] * ports)


@pytest.mark.parametrize(
    ("scenario", "overrides", "ports"),
    [
        ("uma-nlos-16", {}, 1),
        ("umi-nlos-32", {}, 1),
        ("uma-nlos-16", {"panel": {"polarisation": "dual"}}, 2),
        ("cdl-c-32", {}, 1),
    ],
)
def test_a_beam_is_the_inner_product_with_its_weights(scenario, overrides, ports):
    channel, rays = sampled(scenario, **overrides)
    panel = channel.scenario.panel
    start_s = torch.zeros(3, dtype=torch.float64)
    h = synthesise(rays, channel.grid, start_s, 4)[:, :, :, 0]  # (batch, users, slots, antennas, subcarriers)
    through, power = through_strongest_beam(rays, channel.grid)
    g = synthesise(through, replace(channel.grid, columns=1, rows=1), start_s, 4)[:, :, :, 0, 0]
    beams = torch.einsum("ba,kutaf->kubtf", beam_weights(panel.rows, panel.columns, ports).conj(), h)
    error = (beams - g[:, :, None]).abs().amax((-1, -2)) / g.abs().amax((-1, -2))[..., None]
    assert (error.amin(-1) < 1e-3).all()
    # The chosen beam is the strongest on average; over a few slots any other may be ahead by fading.
    assert (power <= ports * panel.rows * panel.columns * rays.gain.abs().square().sum((-1, -2, -3, -4)) * 1.001).all()


def test_no_beam_has_more_mean_power():
    channel, rays = sampled("uma-nlos-16")
    through, power = through_strongest_beam(rays, channel.grid)
    slots = torch.arange(0, 40_000, 200)
    grid = replace(channel.grid, columns=1, rows=1)
    mean = torch.stack(
        [
            synthesise(through, grid, torch.full((3,), float(slot) * 1e-3, dtype=torch.float64), 1)
            .abs()
            .square()
            .mean((-1, -2, -3, -4))
            for slot in slots
        ]
    ).mean(0)
    torch.testing.assert_close(mean, power, rtol=0.35, atol=0)


def test_independent_antennas_are_chosen_from():
    channel, rays = sampled("rayleigh-32")
    through, power = through_strongest_beam(rays, channel.grid)
    energy = rays.gain.abs().square().sum((-1, -2)).sum(2)
    torch.testing.assert_close(power, energy.amax(-1))
    assert through.gain.shape[3] == 1


def test_rows_do_not_see_each_other():
    channel, rays = sampled("uma-nlos-16")
    together, power = through_strongest_beam(rays, channel.grid)
    for row in range(3):
        alone = type(rays)(
            *(getattr(rays, name)[row : row + 1] for name in ("gain", "horizontal", "vertical", "doppler_hz", "delay_s"))
        )
        through, mine = through_strongest_beam(alone, channel.grid)
        assert torch.equal(through.gain[0], together.gain[row])
        assert torch.equal(mine[0], power[row])
