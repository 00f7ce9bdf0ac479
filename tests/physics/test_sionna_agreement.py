"""Our rays and synthesis against Sionna's public path: the same episode drawn twice from the same generators."""

from dataclasses import replace

import pytest
import torch
from sionna.phy.channel import cir_to_ofdm_channel, subcarrier_frequencies

from wirelessgym.channel import Channel, sionna_models, tapped
from wirelessgym.channel.clusters import to_rays
from wirelessgym.channel.randomness import generators, uniform
from wirelessgym.channel.rays import Rays
from wirelessgym.channel.synthesis import synthesise
from wirelessgym.registry import load_scenario

EPISODES, USERS, SLOTS, SUBCARRIERS = 4, 3, 20, 48
SEED = torch.full((EPISODES,), 5)
NUMBER = torch.arange(EPISODES)
START = torch.zeros(EPISODES, dtype=torch.int64)


def rows():
    return generators(SEED, NUMBER, "channel")


def sionna_response(cir, links, scenario, precision="single"):
    gains, delays = cir
    frequencies = subcarrier_frequencies(SUBCARRIERS, scenario.subcarrier_spacing_hz, precision=precision)
    h = cir_to_ofdm_channel(frequencies, gains, delays)  # (n, rx, 1, tx, antennas, slots, subcarriers)
    return h[:, :, 0, 0].reshape(*links, scenario.num_antennas, SLOTS, SUBCARRIERS).transpose(2, 3)


def largest_error(ours, reference):
    rms = reference.abs().square().mean((2, 3, 4), keepdim=True).sqrt()
    return float(((ours - reference).abs() / rms).max())


def single(rays: Rays) -> Rays:
    return Rays(
        rays.gain.to(torch.complex64),
        rays.horizontal.float(),
        rays.vertical.float(),
        rays.doppler_hz,
        rays.delay_s.float(),
    )


@pytest.mark.parametrize(
    "overrides",
    [
        {"model": "uma", "sight": "nlos"},
        {"model": "uma", "sight": "nlos", "panel.element": "38.901", "path_loss": True, "shadowing": True},
        {"model": "uma", "sight": "los", "path_loss": True, "shadowing": True},
        {"model": "uma", "sight": "mixed", "panel.element": "38.901", "panel.polarisation": "dual"},
        {"model": "umi", "sight": "nlos", "path_loss": True, "shadowing": True},
        {"model": "umi", "sight": "mixed", "spec_version": "16.1"},
        {"model": "rma", "sight": "nlos", "path_loss": True, "shadowing": True},
        {"model": "rma", "sight": "mixed", "panel.element": "38.901"},
        {"model": "inh", "sight": "mixed", "path_loss": True, "shadowing": True},
    ],
    ids=lambda o: "-".join(map(str, o.values())),
)
def test_system_level_channels_equal_sionnas_public_path(overrides):
    scenario = load_scenario("uma-nlos-32", overrides)
    # Double precision: in single precision Sionna's own line-of-sight phase, 2 pi distance / wavelength, is off by 10^-4.
    model = sionna_models.system_level_model(scenario, precision="double")
    with sionna_models.episode_randomness(gen := rows()):
        sionna_models.place_users(model, scenario, USERS, gen)
        cir = model(SLOTS, 1 / scenario.slot_duration_s)
    reference = sionna_response(cir, (EPISODES, USERS), scenario, "double")
    clusters = sionna_models.draw_system_level(model, scenario, USERS, rows())
    slants = sionna_models.POLARISATION_SLANTS[scenario.panel.polarisation]
    rays = to_rays(clusters, scenario.panel, slants, scenario.carrier_frequency_hz)
    ours = synthesise(single(rays), Channel(scenario, USERS, SUBCARRIERS).grid, START, SLOTS)
    assert largest_error(ours, reference) < 2e-5


@pytest.mark.parametrize("letter", "acde")
def test_clustered_delay_lines_equal_sionnas_public_path(letter):
    scenario = load_scenario("cdl-c-32", {"model": f"cdl-{letter}"})
    channel = Channel(scenario, USERS, SUBCARRIERS)
    ours = channel.response(channel.draw(SEED, NUMBER), START, SLOTS)
    bearing = uniform((USERS,), generators(SEED, NUMBER, "bearing"), -torch.pi / 3, torch.pi / 3)
    model = sionna_models.cdl_model(scenario, bearing.flatten())
    with sionna_models.episode_randomness(rows()):
        cir = model(EPISODES * USERS, SLOTS, 1 / scenario.slot_duration_s)
    assert largest_error(ours, sionna_response(cir, (EPISODES, USERS), scenario)) < 2e-5


@pytest.mark.parametrize("letter", "ade")
def test_tapped_delay_lines_equal_sionnas_public_path(letter):
    scenario = load_scenario("uma-nlos-16", {"model": f"tdl-{letter}"})
    channel = Channel(scenario, USERS, SUBCARRIERS)
    ours = channel.response(channel.draw(SEED, NUMBER), START, SLOTS)
    with sionna_models.episode_randomness(rows()):
        cir = tapped.tdl_model(scenario)(EPISODES * USERS, SLOTS, 1 / scenario.slot_duration_s)
    assert largest_error(ours, sionna_response(cir, (EPISODES, USERS), scenario)) < 2e-5


def test_phase_runs_on_over_2000_slots():
    scenario = load_scenario("uma-nlos-16", {"speed_kmh": 100, "num_subcarriers": 2})
    channel = Channel(scenario, 2, 2)
    rays = channel.draw(SEED, NUMBER)
    blocks = [channel.response(rays, START + first, 40) for first in range(0, 2000, 40)]
    exact = replace(rays, doppler_hz=rays.doppler_hz)
    slots = torch.arange(2000, dtype=torch.float64)
    # The same sum of rays in double precision, formed at once for all slots.
    turn = torch.exp(2j * torch.pi * exact.doppler_hz[..., None] * slots * scenario.slot_duration_s)
    amplitude = exact.gain[:, :, 0].to(torch.complex128)
    delay = torch.exp(-2j * torch.pi * exact.ray_delay_s()[..., None] * torch.tensor([-180e3, 0.0], dtype=torch.float64))
    column, row = torch.arange(4) - 1.5, torch.arange(4) - 1.5
    cycles = (exact.horizontal[..., None, None] * column[:, None] + exact.vertical[..., None, None] * row).double()
    steering = torch.exp(2j * torch.pi * cycles).flatten(-2)
    reference = torch.einsum("bkcr,bkcrt,bkcrn,bkcrf->bktnf", amplitude, turn, steering, delay)
    assert largest_error(torch.cat(blocks, 2), reference) < 1e-5


def test_rays_split_at_the_strongest_clusters_keep_every_delay():
    channel = Channel(load_scenario("uma-nlos-16"), 2, 4)
    delays = channel.draw(SEED, NUMBER).ray_delay_s()
    assert (delays[..., :2, :].amax(-1) > delays[..., :2, :].amin(-1)).all()
    assert (delays[..., 2:, :].amax(-1) == delays[..., 2:, :].amin(-1)).all()
