"""What fields become at Gymnasium's door, and what infos say of rows that ended."""

import ast
import copy
import json
import pickle

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics
from toy_task import USERS, Toy

from wirelessgym.env import VectorEnv
from wirelessgym.env.info import LazyInfos
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


CONTENT = {"rate": 3, "_rate": [True]}
WAYS = {
    "key": lambda infos: infos["rate"] == 3 and infos,
    "get": lambda infos: infos.get("rate") == 3 and infos,
    "in": lambda infos: "rate" in infos and infos,
    "length": lambda infos: len(infos) == 2 and infos,
    "truth": lambda infos: infos or None,
    "equality": lambda infos: infos == CONTENT and infos,
    "inequality": lambda infos: infos != {} and infos,
    "iteration": lambda infos: {key: infos[key] for key in infos},
    "backwards": lambda infos: {key: infos[key] for key in reversed(infos)},
    "items": lambda infos: dict(infos.items()),
    "keys and values": lambda infos: dict(zip(infos.keys(), infos.values(), strict=True)),
    "dict": dict,
    "stars": lambda infos: {**infos},
    "named arguments": lambda infos: dict(**infos),
    "update of another": lambda infos: (found := {}).update(infos) or found,
    "union": lambda infos: infos | {},
    "union from the left": lambda infos: {} | infos,
    "union in place": lambda infos: infos.__ior__({}),
    "copy": lambda infos: infos.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda infos: pickle.loads(pickle.dumps(infos)),
    "json": lambda infos: json.loads(json.dumps(infos)),
    "text": lambda infos: ast.literal_eval(repr(infos)),
    "the same type": lambda infos: type(infos)(**infos),
    "setdefault": lambda infos: infos.setdefault("rate", 4) == 3 and infos,
    "pop": lambda infos: {"rate": infos.pop("rate")} | infos,
    "popitem": lambda infos: dict([infos.popitem()]) | infos,
    "set": lambda infos: infos.__setitem__("rate", 3) or infos,
    "update": lambda infos: infos.update(rate=3) or infos,
    "delete": lambda infos: infos.__delitem__("rate") or {"rate": 3} | infos,
    "clear": lambda infos: infos.clear() or infos or CONTENT,
}


@pytest.mark.parametrize("way", WAYS)
def test_infos_are_worked_out_once_whoever_looks_first(way):
    asked = []

    def work():
        asked.append(way)
        return CONTENT

    infos = LazyInfos.later(work)
    assert isinstance(infos, dict) and not asked
    assert WAYS[way](infos) == CONTENT
    assert asked == [way]


def test_infos_say_what_a_step_was_worth_however_late_they_are_read():
    task = Toy(scenario=load_scenario("rayleigh-32", {"horizon": 9}))
    early, late = VectorEnv(task, 3), VectorEnv(task, 3)
    early.reset(seed=1), late.reset(seed=1)
    actions = [early.action_space.sample() for _ in range(3)]
    read = [dict(early.step(action)[4]) for action in actions]
    kept = [late.step(action)[4] for action in actions]
    for one, other in zip(read, kept, strict=True):
        assert one.keys() == other.keys() == {"nmse", "_nmse", "error", "_error"}
        assert all(np.array_equal(value, other[key]) for key, value in one.items())
    kept[0]["_nmse"][:] = False
    assert kept[0]["_error"].all(), "no mask is another's"


def test_gymnasiums_wrappers_read_and_extend_the_infos():
    task = Toy(scenario=load_scenario("rayleigh-32", {"horizon": 2}))
    env = RecordEpisodeStatistics(VectorEnv(task, 2))
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[4].keys() == {"nmse", "_nmse", "error", "_error"}
    assert env.step(env.action_space.sample())[4]["episode"]["l"].tolist() == [2, 2]
    listed = DictInfoToList(VectorEnv(task, 2))
    listed.reset(seed=0)
    assert [row.keys() for row in listed.step(listed.action_space.sample())[4]] == [{"nmse", "error"}] * 2
