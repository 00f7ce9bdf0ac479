import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toy_task import USERS, Toy

from wirelessgym.env import Env, VectorEnv
from wirelessgym.env.pool import EpisodePool
from wirelessgym.registry import load_scenario
from wirelessgym.task import Task

HORIZON = 5


def toy_of(kind, **options):
    return kind(scenario=load_scenario("rayleigh-32", {"horizon": HORIZON}), **options)


def toy(**options):
    return toy_of(Toy, **options)


def same(first, second):
    return data_equivalence(first, second, exact=True)


def row(value, index):
    return {key: entry[index, ...] for key, entry in value.items()}


def actions_for(env, steps, seed=0):
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(steps)]


@pytest.mark.parametrize("options", [{}, {"early_end": True}, {"two_entries": True}])
def test_the_vector_view_is_gymnasiums_own_batch_of_the_single_view_bit_for_bit(options):
    ours = VectorEnv(toy(**options), num_envs=4)
    theirs = SyncVectorEnv([lambda: Env(toy(**options))] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert same(ours.reset(seed=11), theirs.reset(seed=11))
    for action in actions_for(ours, 4 * HORIZON):
        obs, reward, *ended, info = ours.step(action)
        obs_too, reward_too, *ended_too, info_too = theirs.step(action)
        assert same(obs, obs_too)
        assert same(tuple(ended), tuple(ended_too))
        assert same(dict(info), info_too)
        assert np.array_equal(reward, reward_too)


@pytest.mark.parametrize("num_envs", [1, 3, 40])
def test_an_environment_alone_meets_the_episodes_of_its_row(num_envs):
    batch, single = VectorEnv(toy(), num_envs), Env(toy())
    last = num_envs - 1
    obs, _ = batch.reset(seed=5)
    alone, _ = single.reset(seed=5 + last)
    for action in actions_for(batch, 3 * HORIZON):
        assert same(row(obs, last), alone)
        obs, reward, _, truncated, info = batch.step(action)
        alone, reward_alone, _, truncated_alone, info_alone = single.step(action[last])
        assert (reward[last], truncated[last]) == (reward_alone, truncated_alone)
        if truncated_alone:
            assert same(info["final_obs"][last], alone)
            assert info["final_info"]["nmse"][last] == info_alone["nmse"]
            alone, _ = single.reset()


def test_an_episode_is_the_same_whether_drawn_ahead_or_alone():
    pooled = Env(toy())
    pooled.reset(seed=3)
    for number in range(1, 70):
        obs, _ = pooled.reset()
        _, expected = toy().reset([number], seed=[3])
        assert np.array_equal(obs["received"], torch.view_as_real(expected["received"])[0].numpy())


def test_episodes_are_drawn_ahead_in_batches_but_not_after_a_seed():
    Toy.drawn.clear()
    single = Env(toy())
    for seed in range(3):
        single.reset(seed=seed)
    for _ in range(32):
        single.reset()
    assert Toy.drawn == [1, 1, 1, 32]
    Toy.drawn.clear()
    batch = VectorEnv(toy(), 8)
    batch.reset(seed=0)
    for action in actions_for(batch, 4 * HORIZON):
        batch.step(action)
    assert Toy.drawn == [8, 32]


def test_rows_that_ask_in_any_order_get_their_own_episodes_in_turn():
    pool, rng, count = EpisodePool(toy(), 5), np.random.default_rng(0), np.zeros(5, int)
    pool.begin(np.arange(5), 100 + np.arange(5))
    for _ in range(60):
        rows = np.flatnonzero(rng.random(5) < 0.4)
        if len(rows):
            state, _ = pool.take(rows)
            assert state.seed.tolist() == (100 + rows).tolist()
            assert state.episode.tolist() == count[rows].tolist()
            count[rows] += 1


def test_disabled_autoreset_resets_the_masked_rows_and_leaves_the_others():
    env = VectorEnv(toy(early_end=True), 4, AutoresetMode.DISABLED)
    env.reset(seed=0)  # row j ends after j + 1 steps
    first, second = actions_for(env, 2)
    obs, _, terminated, _, info = env.step(first)
    assert terminated.tolist() == [True, False, False, False]
    assert "final_obs" not in info
    with pytest.raises(ResetNeeded, match=r"rows \[0\] are over"):
        env.step(second)
    expected = {key: value.copy() for key, value in obs.items()}
    obs["received"][:] = 0  # the caller's own copy
    after, _ = env.reset(options={"reset_mask": terminated})
    assert same(row(after, 1), row(expected, 1))
    _, new = toy().reset([1], seed=[0])
    assert np.array_equal(after["received"][0], torch.view_as_real(new["received"])[0].numpy())
    env.reset(seed=[9, None, None, 9], options={"reset_mask": np.array([True, False, True, True])})
    obs, *_ = env.step(second)
    assert obs["slot"].tolist() == [1, 2, 1, 1]
    assert same(row(obs, 0), row(obs, 3))


class Steady(Toy):
    """No episode ends before the horizon, so nobody has to look before then."""

    terminated = Task.terminated


def test_rows_that_began_at_different_times_end_at_their_own_horizon_whether_or_not_anybody_looks():
    assert not toy_of(Steady).ends_early and toy().ends_early
    looking, trusting = (VectorEnv(task, 3, "DISABLED") for task in (toy(), toy_of(Steady)))
    looking.reset(seed=1), trusting.reset(seed=1)
    age, restarts = np.zeros(3, int), {1: [False, True, False], 3: [False, False, True]}
    for step, action in enumerate(actions_for(looking, 4 * HORIZON)):
        one, other = looking.step(action), trusting.step(action)
        age += 1
        assert same(one[:4], other[:4]) and same(dict(one[4]), dict(other[4]))
        assert one[3].tolist() == (age == HORIZON).tolist()
        mask = one[3] | np.array(restarts.get(step, [False] * 3))
        if mask.any():
            age[mask] = 0
            assert same(*(env.reset(options={"reset_mask": mask})[0] for env in (looking, trusting)))


def test_bad_resets_say_what_was_wrong():
    env = VectorEnv(toy(), 3, "DISABLED")
    mask = np.array([True, False, False])
    with pytest.raises(ResetNeeded, match="reset all rows once first"):
        env.reset(options={"reset_mask": mask})
    with pytest.raises(ValueError, match=r"expected a bool array of shape \(3,\) with a True in it, got bool \(2,\)"):
        env.reset(options={"reset_mask": mask[:2]})
    with pytest.raises(ValueError, match="got list"):
        env.reset(options={"reset_mask": [True, False, False]})
    with pytest.raises(ValueError, match="expected one for each of 3 rows, got 2"):
        env.reset(seed=[1, 2])
    with pytest.raises(ValueError, match=r"expected integers in \[0, 2\^63\), got -1"):
        env.reset(seed=[1, 2, -1])
    with pytest.raises(ValueError, match="unknown key 'mask', known: reset_mask"):
        env.reset(options={"mask": mask})
    with pytest.raises(ValueError, match="needs autoreset_mode DISABLED"):
        VectorEnv(toy(), 3).reset(options={"reset_mask": mask})
    with pytest.raises(ValueError, match="unknown key 'reset_mask', this environment has none"):
        Env(toy()).reset(options={"reset_mask": mask})


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, "NextStep", "Sometimes"])
def test_other_autoreset_modes_are_refused(mode):
    with pytest.raises(ValueError, match="autoreset_mode: expected SAME_STEP or DISABLED, got"):
        VectorEnv(toy(), 2, mode)


def test_the_autoreset_mode_is_named_where_others_look_for_it():
    for mode in ("SAME_STEP", "Disabled", AutoresetMode.SAME_STEP):
        env = VectorEnv(toy(), 2, mode)
        assert env.metadata["autoreset_mode"] is env.autoreset_mode
    assert VectorEnv(toy()).autoreset_mode is AutoresetMode.SAME_STEP
    assert "autoreset_mode" not in Env(toy()).metadata


def test_wrong_construction_is_refused():
    with pytest.raises(ValueError, match="num_envs: expected at least 1, got 0"):
        VectorEnv(toy(), 0)
    with pytest.raises(ValueError, match="render_mode: expected None or 'rgb_array', got 'human'"):
        Env(toy(), render_mode="human")


def test_an_env_never_resets_itself():
    env = Env(toy())
    with pytest.raises(ResetNeeded, match="call reset first"):
        env.step(np.zeros((USERS, 2), np.float32))
    env.reset(seed=0)
    ended = [env.step(action)[2:4] for action in actions_for(env, HORIZON)]
    assert ended == [(False, False)] * (HORIZON - 1) + [(False, True)]
    with pytest.raises(ResetNeeded, match="the episode is over"):
        env.step(np.zeros((USERS, 2), np.float32))


def test_wrong_actions_raise_the_tasks_error():
    env = VectorEnv(toy(), 2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"symbols: expected shape \(2, 3\) \(batch first\), got \(2, 4\)"):
        env.step(np.zeros((2, 4, 2), np.float32))
    with pytest.raises(ValueError, match=r"symbols: expected a trailing \(re, im\) axis of 2"):
        env.step(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="symbols: row 1 holds NaN"):
        env.step(np.stack([np.zeros((3, 2)), np.full((3, 2), np.nan)]))
    with pytest.raises(TypeError, match="symbols: expected an array of numbers, got object"):
        env.step(None)
    both = VectorEnv(toy(two_entries=True), 2)
    both.reset(seed=0)
    with pytest.raises(TypeError, match=r"expected a dict with \['symbols', 'trust'\], got ndarray"):
        both.step(np.zeros((2, 3, 2), np.float32))
    with pytest.raises(ValueError, match=r"missing \['trust'\]"):
        both.step({"symbols": np.zeros((2, 3, 2), np.float32)})


def test_actions_may_be_read_only_reversed_wider_or_complex():
    results = []
    base = np.random.default_rng(0).standard_normal((2, 3, 2)).astype(np.float32)
    read_only = base.copy()
    read_only.flags.writeable = False
    variants = [base, read_only, base[::-1].copy()[::-1], base.astype(np.float64), base.view(np.complex64)[..., 0]]
    for action in variants:
        env = VectorEnv(toy(), 2)
        env.reset(seed=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            results.append(env.step(action)[1])
    assert all(np.array_equal(result, results[0]) for result in results)


def test_writing_into_what_was_returned_reaches_neither_the_episode_nor_other_returns():
    clean, abused = VectorEnv(toy(), 2), VectorEnv(toy(), 2)
    expected, obs = clean.reset(seed=0)[0], abused.reset(seed=0)[0]
    for action in actions_for(clean, 2 * HORIZON):
        assert same(expected, obs)
        for value in obs.values():
            value[...] = 0
        expected, reward, *_ = clean.step(action)
        obs, reward_too, terminated, truncated, info = abused.step(action)
        assert np.array_equal(reward, reward_too)
        for value in (reward_too, terminated, truncated):
            value[...] = 0
        assert "nmse" not in info or (info["nmse"] > 0).all()


def test_nothing_hidden_is_in_observations_or_infos_or_on_the_environment():
    env = Env(toy())
    env.reset(seed=0)
    state, _ = toy().reset([0], seed=0)
    action = np.zeros((USERS, 2), np.float32)
    obs, *_, info = env.step(action)
    state, _ = toy().step(state, torch.zeros(1, USERS, dtype=torch.complex64))
    hidden = torch.view_as_real(state.symbols)[0].numpy()
    for value in [*obs.values(), *info.values()]:
        assert not np.array_equal(np.sort(np.ravel(value)), np.sort(hidden.ravel()))
    public = {name: getattr(env, name) for name in dir(env) if not name.startswith("_")}
    assert not any(isinstance(value, torch.Tensor | type(state)) for value in public.values())
    assert sorted(info) == ["error", "nmse"]
    assert env.reset()[1] == {}


def test_without_a_seed_the_first_episode_is_drawn_from_np_random():
    first, second, other = Env(toy()), Env(toy()), Env(toy())
    first.np_random = np.random.default_rng(1)
    second.np_random = np.random.default_rng(1)
    other.np_random = np.random.default_rng(2)
    a, b, c = (env.reset()[0] for env in (first, second, other))
    assert same(a, b)
    assert not same(a, c)


def test_global_random_state_is_neither_read_nor_changed():
    def play():
        env = VectorEnv(toy(), 2)
        obs, _ = env.reset(seed=0)
        return obs, env.step(np.zeros((2, USERS, 2), np.float32))[1]

    torch.manual_seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = play()
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    torch.manual_seed(2)
    assert same(first, play())


def test_frames_show_the_state_and_the_action_taken_in_it():
    env = VectorEnv(toy(), 2, render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match="call reset first"):
        env.render()
    env.reset(seed=0)
    assert [frame.max() for frame in env.render()] == [0, 0]
    env.step(np.zeros((2, USERS, 2), np.float32))
    assert [frame.max() for frame in env.render()] == [255, 255]
    single = Env(toy(), render_mode="rgb_array")
    single.reset(seed=0)
    assert single.render().shape == (4, 4, 3)


@pytest.mark.parametrize("options", [{}, {"two_entries": True}])
def test_gymnasiums_checker_has_nothing_to_say(options, recwarn):
    name = "wirelessgym-test/Toy-v0"
    gym.register(name, entry_point=lambda render_mode=None: Env(toy(**options), render_mode))
    check_env(gym.make(name, render_mode="rgb_array").unwrapped)
    gym.registry.pop(name)
    assert [str(w.message) for w in recwarn] == []


def test_environments_can_be_copied_and_pickled_in_mid_episode():
    env = Env(toy())
    env.reset(seed=0)
    first, second = actions_for(env, 2)
    env.step(first)
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        twin_step = twin.step(second)
        assert twin_step[0]["slot"] == 2
    assert same(twin_step, env.step(second))
