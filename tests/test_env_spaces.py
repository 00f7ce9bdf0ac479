"""What fields become at Gymnasium's door, and what infos say of rows that ended."""

import numpy as np
from gymnasium import spaces
from toy_task import USERS, Toy

from wirelessgym.env import VectorEnv
from wirelessgym.env.spaces import action_space, observation_space
from wirelessgym.fields import Field
from wirelessgym.registry import load_scenario


def field(shape, dtype, low, high):
    return Field("entry", shape, dtype, "1", low, high, "an entry")


def test_whole_numbers_to_choose_are_counted_from_the_smallest():
    assert action_space((field((), "int64", 3, 7),)) == spaces.Discrete(5, start=3)
    several = action_space((field((2,), "int64", 3, 7),))
    assert several == spaces.MultiDiscrete([5, 5], start=[3, 3])
    assert several.contains(np.array([3, 7])) and not several.contains(np.array([2, 7]))


def test_yes_or_no_is_a_bit_each():
    assert action_space((field((), "bool", 0, 1),)) == spaces.Discrete(2)
    assert action_space((field((3,), "bool", 0, 1),)) == spaces.MultiBinary((3,))
    seen = observation_space((field((3,), "bool", 0, 1),))["entry"]
    assert seen == spaces.Box(0, 1, (3,), np.int8)


def test_complex_numbers_are_pairs_of_real_ones_between_the_fields_bounds():
    seen = observation_space((field((2, 3), "complex64", -4, 4),))["entry"]
    assert seen == spaces.Box(-4, 4, (2, 3, 2), np.float32)


def played(num_envs, mode):
    env = VectorEnv(Toy(scenario=load_scenario("rayleigh-32", {"horizon": 9}), early_end=True), num_envs, mode)
    env.reset(seed=0)
    env.action_space.seed(0)
    return env


def test_metrics_stand_where_their_masks_say_and_zeros_elsewhere():
    env = played(4, "SAME_STEP")  # row j ends after j % 4 + 1 steps
    *_, infos = env.step(env.action_space.sample())
    for name, shape in (("nmse", (4,)), ("error", (4, USERS))):
        going, ended = infos[name], infos["final_info"][name]
        assert going.shape == ended.shape == shape
        assert infos[f"_{name}"].tolist() == [False, True, True, True]
        assert infos["final_info"][f"_{name}"].tolist() == [True, False, False, False]
        assert (going[1:] > 0).all() and (going[0] == 0).all()
        assert (ended[0] > 0).all() and (ended[1:] == 0).all()


def test_of_two_rows_the_one_that_ended_starts_again_alone():
    env = played(2, "DISABLED")
    obs, _, terminated, *_ = env.step(env.action_space.sample())
    assert terminated.tolist() == [True, False]
    fresh, _ = env.reset(options={"reset_mask": terminated})
    assert fresh["slot"].tolist() == [0, 1]
    for name, value in obs.items():
        np.testing.assert_array_equal(fresh[name][1], value[1])
    assert not np.array_equal(fresh["received"][0], obs["received"][0])
