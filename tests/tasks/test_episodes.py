"""Episodes are pure functions of (task, scenario, seed, number): whatever is drawn beside them, and whatever ran before."""

import os
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from wirelessgym import make_task
from wirelessgym.channel.randomness import generators
from wirelessgym.fields import put
from wirelessgym.scenario import ScenarioError

SETTINGS = [
    ("precoding", "uma-nlos-16", {"csi_snr_db": (0, 20), "snr_db": (0, 20)}),
    ("precoding", "umi-nlos-32", {"num_users": (2, 5), "csi_delay_slots": 3, "csi_snr_db": 10}),
    ("precoding", "uma-hard-16", {"panel.element": "38.901", "panel.polarisation": "dual", "channel.sight": "mixed"}),
    ("precoding", "uma-nlos-16", {"model": "rma", "num_users": 3, "path_loss": True, "normalisation": "none"}),
    ("detection", "uma-nlos-16", {"model": "inh", "sight": "mixed", "num_users": 5, "snr_db": (0, 20)}),
    ("precoding", "uma-crowd-32", {"channel.sight": "mixed", "channel.drop.indoor_probability": 0.3}),
    ("detection", "uma-crowd-32", {"channel.model": "inh", "num_users": 3}),
    ("channel_prediction", "uma-crowd-32", {"num_subcarriers": 3, "channel.model": "umi"}),
    ("detection", "cdl-c-32", {"num_users": 3, "num_slots": 5, "csi_snr_db": 20}),
    ("detection", "rayleigh-32", {"num_users": (1, 3), "modulation": "64qam"}),
    ("channel_prediction", "uma-nlos-16", {"num_subcarriers": 12}),
    ("channel_prediction", "uma-nlos-16", {"model": "tdl-d", "num_subcarriers": 7}),
    ("channel_prediction", "umi-nlos-32", {"channel.sight": "mixed", "panel.rows": 3, "num_subcarriers": 5}),
    ("channel_prediction", "cdl-c-32", {"model": "cdl-a", "panel.rows": 3, "num_subcarriers": 5}),
    ("channel_prediction", "rayleigh-32", {"num_subcarriers": 3, "num_past": 5, "num_future": 3}),
]
IDS = [f"{task}-{scenario}-{i}" for i, (task, scenario, _) in enumerate(SETTINGS)]


def some_action(task, numbers):
    """An action that depends on each row's episode number only."""
    rows = generators(torch.zeros(len(numbers), dtype=torch.int64), torch.tensor(numbers), "action")
    (field,) = task.action_fields
    return torch.stack([torch.randn(field.shape, dtype=field.torch_dtype, generator=g) for g in rows])


def play(task, numbers, seed, steps=3):
    """Everything that can be seen of episodes: observations, rewards and metrics of a few steps."""
    state, obs = task.reset(numbers, seed)
    seen = list(obs.values())
    for _ in range(steps):
        state, step = task.step(state, some_action(task, numbers))
        seen += [*step.obs.values(), step.reward, *step.metrics.values()]
    return seen


def same(a, b):
    return torch.equal(a, b) or (torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num()))


@pytest.mark.parametrize(("name", "scenario", "overrides"), SETTINGS, ids=IDS)
def test_an_episode_is_the_same_to_the_last_bit_alone_and_among_others(name, scenario, overrides):
    task = make_task(name, scenario=scenario, **overrides)
    together = play(task, list(range(32)), seed=11)
    for numbers in ([0], [3], [2, 0, 1], [31, 5, 9, 9, 17]):
        for alone, all_rows in zip(play(task, numbers, seed=11), together, strict=True):
            assert same(alone, all_rows[torch.tensor(numbers)])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_episode_does_not_depend_on_the_number_of_threads(threads):
    task = make_task("detection", scenario="uma-nlos-16", num_users=3)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        many, few = play(task, list(range(48)), seed=1, steps=1), play(task, [5], seed=1, steps=1)
    finally:
        torch.set_num_threads(before)
    assert all(same(row, rows[5:6]) for row, rows in zip(few, many, strict=True))


@pytest.mark.parametrize(("name", "scenario", "overrides"), SETTINGS[:8:3])
def test_rows_may_have_seeds_of_their_own(name, scenario, overrides):
    task = make_task(name, scenario=scenario, **overrides)
    mixed = play(task, [4, 0, 4], seed=[3, 8, 9], steps=1)
    for row, (number, seed) in enumerate([(4, 3), (0, 8), (4, 9)]):
        state, obs = task.reset([number], seed)
        assert all(same(value[0], rows[row]) for value, rows in zip(obs.values(), mixed, strict=False))
        assert int(state.seed) == seed


@pytest.mark.parametrize(("name", "scenario", "overrides"), SETTINGS, ids=IDS)
def test_other_seeds_and_other_numbers_give_other_episodes(name, scenario, overrides):
    task = make_task(name, scenario=scenario, **overrides)
    first = task.reset([0, 1], 0)[1]["csi"]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, task.reset([0, 1], 1)[1]["csi"])


@pytest.mark.parametrize(("name", "scenario", "overrides"), SETTINGS, ids=IDS)
def test_global_random_state_is_neither_read_nor_changed(name, scenario, overrides):
    from sionna.phy import config

    task = make_task(name, scenario=scenario, **overrides)
    task.reset([0], 0)  # builds Sionna's model
    torch.manual_seed(1)
    reference = play(task, [0, 1], 2)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    config.seed = 99
    states = torch.get_rng_state(), config.torch_rng("cpu").get_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert all(same(a, b) for a, b in zip(play(task, [0, 1], 2), reference, strict=True))
    assert torch.equal(states[0], torch.get_rng_state())
    assert torch.equal(states[1], config.torch_rng("cpu").get_state())
    assert np.array_equal(states[2], np.random.get_state()[1])  # noqa: NPY002


def test_rows_drawn_with_and_without_a_direct_ray_fit_together():
    task = make_task("channel_prediction", "uma-nlos-16", model="umi", sight="mixed", num_subcarriers=2)
    state, _ = task.reset(range(8), 3)
    for number in range(8):
        alone, _ = task.reset([number], 3)
        joined = put(state, torch.tensor([0]), alone)
        assert torch.equal(joined.drop.rays.gain[0], state.drop.rays.gain[number])
        assert torch.equal(joined.drop.user_position_m[0], state.drop.user_position_m[number])


@pytest.mark.parametrize("name", ["precoding", "detection", "channel_prediction"])
def test_tasks_for_users_with_one_antenna_refuse_more(name):
    message = rf"{name}: expected users with one antenna, got user_panel with 4 \(1 x 2 x 2 polarisations\)"
    with pytest.raises(ScenarioError, match=message):
        make_task(name, **{"user_panel.columns": 2, "user_panel.polarisation": "dual"})


def measurement_errors(name, **options):
    """What is added to the truth at each of four steps: (steps, entries)."""
    task = make_task(name, "rayleigh-32", snr_db=3, horizon=4, **options)
    state, obs = task.reset(range(40), 5)
    errors = []
    for step in range(4):
        if name == "channel_prediction":
            new = step * task.num_future + torch.arange(1 - task.num_future, 1)
            truth = task.channel.response(state.drop, new[0].expand(40), task.num_future)[:, 0, :, 0]
            errors.append((obs["csi"][:, -task.num_future :] - truth).flatten())
        elif name == "precoding":
            errors.append((obs["csi"] - state.h).flatten())
        else:
            errors.append(torch.cat([(obs["csi"] - state.h).flatten(), (obs["received"] - task._noiseless(state)).flatten()]))
        state, obs = task.advance(state)
    return torch.stack(errors)


@pytest.mark.parametrize(
    ("name", "options"),
    [("precoding", {"csi_snr_db": 3}), ("detection", {"csi_snr_db": 3}), ("channel_prediction", {"num_subcarriers": 4})],
)
def test_every_step_measures_with_noise_of_its_own(name, options):
    errors = measurement_errors(name, **options)
    errors = errors / errors.norm(dim=-1, keepdim=True)
    correlation = (errors @ errors.mH).abs() - torch.eye(4)
    assert correlation.max() < 5 / errors.shape[-1] ** 0.5


@pytest.mark.parametrize("bad", [[], [-1], [0, -2], 5, [1.5], [2**63]])
def test_episode_numbers_start_at_zero(bad):
    with pytest.raises(ValueError, match=r"episodes: expected numbers from 0, at least one, got "):
        make_task("precoding", scenario="rayleigh-32").reset(bad)


def test_seeds_are_one_or_one_per_row():
    task = make_task("precoding", scenario="rayleigh-32")
    with pytest.raises(ValueError, match="one for each of 3 episodes, got 2"):
        task.reset(range(3), seed=[1, 2])
    with pytest.raises(ValueError, match=r"integers in \[0, 2\^63\)"):
        task.reset(range(3), seed=-1)
    with pytest.raises(ValueError, match=r"integers in \[0, 2\^63\), got None"):
        task.reset(range(3), seed=None)
    assert torch.equal(task.reset(np.arange(3), seed=np.int64(4))[1]["csi"], task.reset(range(3), seed=4)[1]["csi"])


def test_memory_does_not_grow_over_2000_resets():
    envs = gymnasium.make("wirelessgym/Precoding-v0", scenario="uma-nlos-16", horizon=1).unwrapped

    def resident_mb():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    for _ in range(500):
        envs.reset()
    before = resident_mb()
    for _ in range(2000):
        envs.reset()
    assert resident_mb() - before < 10
