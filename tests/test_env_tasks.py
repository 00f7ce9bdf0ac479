"""The environments of the real tasks, as people get them from Gymnasium."""

import warnings
from dataclasses import fields

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

import wirelessgym
from wirelessgym.env import VectorEnv
from wirelessgym.fields import Rows
from wirelessgym.registry import ids

SMALL = {"horizon": 3, "num_subcarriers": 4}


def gym_id(task):
    return f"wirelessgym/{task.title().replace('_', '')}-v0"


@pytest.mark.parametrize("task", ids("tasks"))
@pytest.mark.parametrize("overrides", [{}, SMALL | {"num_users": (1, 3)}], ids=["default", "drawn users"])
def test_gymnasiums_checker_has_nothing_to_say(task, overrides):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            check_env(gym.make(gym_id(task), **overrides).unwrapped)


@pytest.mark.parametrize("task", ids("tasks"))
def test_row_0_of_a_batch_is_the_environment_alone_bit_for_bit(task):
    batch = gym.make_vec(gym_id(task), num_envs=3, scenario="uma-nlos-16", **SMALL)
    assert type(batch) is VectorEnv
    alone = gym.make(gym_id(task), scenario="uma-nlos-16", **SMALL)
    obs, _ = batch.reset(seed=4)
    single, _ = alone.reset(seed=4)
    batch.action_space.seed(0)
    for _ in range(2 * SMALL["horizon"]):
        assert all(np.array_equal(obs[key][0], single[key]) for key in single)
        action = batch.action_space.sample()
        obs, reward, *_, info = batch.step(action)
        single, reward_alone, _, over, info_alone = alone.step(action[0])
        assert reward[0] == reward_alone
        metrics = info["final_info"] if over else info
        assert all(np.array_equal(metrics[key][0], info_alone[key], equal_nan=True) for key in info_alone)
        if over:
            single, _ = alone.reset()


@pytest.mark.parametrize(("mode", "kind"), [("sync", SyncVectorEnv), ("async", AsyncVectorEnv)])
def test_gymnasiums_own_batches_see_the_same_episodes(mode, kind):
    setting = {"num_envs": 2, "scenario": "rayleigh-32", **SMALL}
    ours = gym.make_vec("wirelessgym/Precoding-v0", **setting)
    spawn = {"context": "spawn"} if mode == "async" else {}
    options = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP, **spawn}
    theirs = gym.make_vec("wirelessgym/Precoding-v0", vectorization_mode=mode, vector_kwargs=options, **setting)
    assert type(theirs) is kind
    ours.action_space.seed(0)
    try:
        assert data_equivalence(ours.reset(seed=8), theirs.reset(seed=8), exact=True)
        for _ in range(2 * SMALL["horizon"]):
            action = ours.action_space.sample()
            first, second = ours.step(action), theirs.step(action)
            assert data_equivalence(first[0], second[0], exact=True)
            assert np.array_equal(first[1], second[1])
            assert data_equivalence(dict(first[4]), second[4], exact=True)
    finally:
        theirs.close()


def tensors(rows):
    for field in fields(rows):
        value = getattr(rows, field.name)
        if isinstance(value, Rows):
            yield from ((f"{field.name}.{name}", inner) for name, inner in tensors(value))
        elif isinstance(value, torch.Tensor):
            yield field.name, value


@pytest.mark.parametrize("task", ids("tasks"))
def test_no_part_of_the_hidden_state_is_in_an_observation_or_info(task):
    setting = {"scenario": "uma-nlos-16", "csi_snr_db": 10.0, **SMALL}
    made = wirelessgym.make_task(task, **setting)
    state, _ = made.reset([0], seed=2)
    env = gym.make(gym_id(task), **setting)
    obs, info = env.reset(seed=2)
    assert info == {}
    seen = {name: np.ravel(value) for name, value in obs.items()}
    obs, *_, info = env.step(env.action_space.sample())
    seen |= {f"next {name}": np.ravel(value) for name, value in obs.items()}
    seen |= {f"info {name}": np.ravel(value) for name, value in info.items()}
    shown = {field.name for field in made.observation_fields} | {"received", "past"}
    hidden = {name: value for name, value in tensors(state) if name not in shown and value.numel() > 1}
    assert hidden
    for name, value in hidden.items():
        secret = (torch.view_as_real(value) if value.is_complex() else value).ravel().numpy()
        if len(np.unique(secret)) < 3:  # masks and the like are found anywhere
            continue
        for place, entry in seen.items():
            assert not np.array_equal(np.sort(entry), np.sort(secret)), f"state's {name} is in {place}"


def test_the_spec_keeps_its_id_and_makes_the_environment_again():
    env = gym.make("wirelessgym/Precoding-v0", scenario="rayleigh-32", horizon=3)
    assert env.spec.id == "wirelessgym/Precoding-v0"
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.task == env.unwrapped.task
    first, second = env.reset(seed=1), again.reset(seed=1)
    assert data_equivalence(first, second, exact=True)


def test_wrong_settings_are_refused_when_the_environment_is_made():
    with pytest.raises(wirelessgym.registry.UnknownIdError, match="did you mean 'uma-nlos-64'"):
        gym.make("wirelessgym/Precoding-v0", scenario="uma-nlos-65")
    with pytest.raises(ValueError, match="unknown option or scenario key 'horizn'; did you mean 'horizon'"):
        gym.make_vec("wirelessgym/Precoding-v0", num_envs=2, horizn=3)
