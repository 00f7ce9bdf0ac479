"""Our rays and synthesis against Sionna's public path: the same episode drawn twice from the same generators."""

import pytest
import torch
from sionna.phy.channel import cir_to_ofdm_channel, subcarrier_frequencies

from wirelessgym.channel import Channel, sionna_hooks, sionna_shortcuts
from wirelessgym.channel.kinds import cdl, system_level
from wirelessgym.channel.randomness import generators, uniform
from wirelessgym.channel.rays import Rays
from wirelessgym.channel.synthesis import synthesise
from wirelessgym.registry import load_scenario

EPISODES, USERS, SLOTS, SUBCARRIERS = 4, 3, 20, 48
SEED = torch.full((EPISODES,), 5)
NUMBER = torch.arange(EPISODES)
START = torch.zeros(EPISODES, dtype=torch.int64)

# User panels: two antennas beside each other, two polarisations, both, and four in a square further apart.
TWO_COLUMNS = {"user_panel.columns": 2}
CROSSED = {"user_panel.polarisation": "dual"}
CROSSED_PAIR = {"user_panel.rows": 2, "user_panel.polarisation": "dual", "user_panel.element": "38.901"}
TWO_BY_TWO = {"user_panel.rows": 2, "user_panel.columns": 2, "user_panel.spacing_wavelengths": 0.7}


def rows():
    return generators(SEED, NUMBER, "channel")


def sionna_response(cir, links, scenario, precision="single"):
    gains, delays = cir
    frequencies = subcarrier_frequencies(SUBCARRIERS, scenario.subcarrier_spacing_hz, precision=precision)
    h = cir_to_ofdm_channel(frequencies, gains, delays)  # (n, receivers, rx, 1, tx, slots, subcarriers)
    antennas = (scenario.user_panel.num_antennas, scenario.num_antennas)
    return h[:, :, :, 0].reshape(*links, *antennas, SLOTS, SUBCARRIERS).movedim(4, 2)


def largest_error(ours, reference):
    assert ours.shape == reference.shape
    rms = reference.abs().square().mean((2, 3, 4, 5), keepdim=True).sqrt()
    return float(((ours - reference).abs() / rms).max())


def single(rays: Rays) -> Rays:
    return Rays(
        rays.gain.to(torch.complex64),
        rays.horizontal.float(),
        rays.vertical.float(),
        rays.doppler_hz,
        rays.delay_s.float(),
    )


SYSTEM_LEVEL = [
    {"model": "uma", "sight": "nlos"},
    {"model": "uma", "sight": "nlos", "panel.element": "38.901", "path_loss": True, "shadowing": True},
    {"model": "uma", "sight": "los", "path_loss": True, "shadowing": True},
    {"model": "uma", "sight": "mixed", "panel.element": "38.901", "panel.polarisation": "dual"},
    {"model": "umi", "sight": "nlos", "path_loss": True, "shadowing": True},
    {"model": "umi", "sight": "mixed", "spec_version": "16.1"},
    {"model": "rma", "sight": "nlos", "path_loss": True, "shadowing": True},
    {"model": "rma", "sight": "mixed", "panel.element": "38.901"},
    {"model": "inh", "sight": "mixed", "path_loss": True, "shadowing": True},
    {"model": "uma", "sight": "nlos", **TWO_COLUMNS},
    {"model": "umi", "sight": "mixed", **CROSSED},
    {"model": "uma", "sight": "los", "panel.columns": 2, "panel.polarisation": "dual", **CROSSED_PAIR},
    {"model": "inh", "sight": "mixed", "path_loss": True, **TWO_BY_TWO},
    {"model": "rma", "sight": "los", "user_panel.element": "38.901"},
]


@pytest.mark.parametrize("overrides", SYSTEM_LEVEL, ids=lambda o: "-".join(map(str, o.values())))
def test_system_level_channels_equal_sionnas_public_path(overrides):
    scenario = load_scenario("uma-nlos-32", overrides)
    # Double precision: in single precision Sionna's own line-of-sight phase, 2 pi distance / wavelength, is off by 10^-4.
    model = system_level.sionna_model(scenario, scenario.channel, precision="double")
    with sionna_hooks.episode_randomness(gen := rows()):
        system_level.place_users(model, scenario, scenario.channel, USERS, gen)
        cir = model(SLOTS, 1 / scenario.slot_duration_s)
    reference = sionna_response(cir, (EPISODES, USERS), scenario, "double")
    drop = scenario.channel.sample(scenario, model, USERS, SEED, NUMBER)
    ours = synthesise(single(drop.rays), Channel(scenario, USERS, SUBCARRIERS).grid, START, SLOTS)
    assert largest_error(ours, reference) < 2e-5


CROWD = {"channel.spatial_consistency": True, "channel.drop": {"users_per_group": 2, "group_radius_m": 3}}


@pytest.mark.parametrize("overrides", [*SYSTEM_LEVEL[:9], CROWD], ids=lambda o: "-".join(map(str, o.values())))
def test_drops_are_those_that_sionna_samples_by_itself_to_the_last_bit(overrides):
    channel = Channel(load_scenario("uma-nlos-32", {"channel.drop.indoor_probability": 0.3, **overrides}), USERS, 1)
    ours = channel.sample(SEED, NUMBER)
    with sionna_shortcuts.without_shortcuts():
        theirs = channel.sample(SEED, NUMBER)
    for one, other in ((ours.rays, theirs.rays), (ours, theirs)):
        for name, value in vars(one).items():
            assert name == "rays" or torch.equal(value, getattr(other, name)), name


@pytest.mark.parametrize(
    ("letter", "user_panel"),
    [("a", {}), ("c", {}), ("d", {}), ("e", {}), ("c", TWO_COLUMNS), ("d", CROSSED), ("e", TWO_BY_TWO), ("a", CROSSED_PAIR)],
    ids=str,
)
def test_clustered_delay_lines_equal_sionnas_public_path(letter, user_panel):
    scenario = load_scenario("cdl-c-32", {"channel.profile": letter, **user_panel})
    channel = Channel(scenario, USERS, SUBCARRIERS)
    ours = channel.response(channel.sample(SEED, NUMBER), START, SLOTS)
    bearing = uniform((USERS,), generators(SEED, NUMBER, "bearing"), -torch.pi / 3, torch.pi / 3)
    model = cdl.sionna_model(scenario, scenario.channel, bearing.flatten())
    with sionna_hooks.episode_randomness(rows()):
        cir = model(EPISODES * USERS, SLOTS, 1 / scenario.slot_duration_s)
    assert largest_error(ours, sionna_response(cir, (EPISODES, USERS), scenario)) < 2e-5


@pytest.mark.parametrize("user_panel", [{}, TWO_COLUMNS, TWO_BY_TWO], ids=["1", "2", "4"])
@pytest.mark.parametrize("letter", "ade")
def test_tapped_delay_lines_equal_sionnas_public_path(letter, user_panel):
    scenario = load_scenario("uma-nlos-16", {"channel.kind": "tdl", "channel.profile": letter, **user_panel})
    channel = Channel(scenario, USERS, SUBCARRIERS)
    ours = channel.response(channel.sample(SEED, NUMBER), START, SLOTS)
    with sionna_hooks.episode_randomness(rows()):
        cir = scenario.channel.prepare(scenario)(EPISODES * USERS, SLOTS, 1 / scenario.slot_duration_s)
    assert largest_error(ours, sionna_response(cir, (EPISODES, USERS), scenario)) < 2e-5


def test_phase_runs_on_over_2000_slots():
    scenario = load_scenario("uma-nlos-16", {"speed_kmh": 100, "num_subcarriers": 2})
    channel = Channel(scenario, 2, 2)
    drop = channel.sample(SEED, NUMBER)
    blocks = [channel.response(drop, START + first, 40) for first in range(0, 2000, 40)]
    exact = drop.rays
    slots = torch.arange(2000, dtype=torch.float64)
    # The same sum of rays in double precision, formed at once for all slots.
    turn = torch.exp(2j * torch.pi * exact.doppler_hz[..., None] * slots * scenario.slot_duration_s)
    amplitude = exact.gain[:, :, 0, 0].to(torch.complex128)
    delay = torch.exp(-2j * torch.pi * exact.ray_delay_s()[..., None] * torch.tensor([-180e3, 0.0], dtype=torch.float64))
    column, row = torch.arange(4) - 1.5, torch.arange(4) - 1.5
    cycles = (exact.horizontal[..., None, None] * column[:, None] + exact.vertical[..., None, None] * row).double()
    steering = torch.exp(2j * torch.pi * cycles).flatten(-2)
    reference = torch.einsum("bkcr,bkcrt,bkcrn,bkcrf->bktnf", amplitude, turn, steering, delay)
    assert largest_error(torch.cat(blocks, 2), reference[:, :, :, None]) < 1e-5


def test_rays_split_at_the_strongest_clusters_keep_every_delay():
    channel = Channel(load_scenario("uma-nlos-16"), 2, 4)
    delays = channel.sample(SEED, NUMBER).rays.ray_delay_s()
    assert (delays[..., :2, :].amax(-1) > delays[..., :2, :].amin(-1)).all()
    assert (delays[..., 2:, :].amax(-1) == delays[..., 2:, :].amin(-1)).all()
