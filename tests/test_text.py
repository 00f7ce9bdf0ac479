"""Words in observations, from a task to Gymnasium, comparisons and the universal agent."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from learned_agents import learned, train
from spoken_head import SpokenHead
from spoken_task import NUMBERS, PHRASES, WANTS_LARGEST, Spoken
from universal_agents import TINY_BACKBONE

import wirelessgym
from wirelessgym.agent import Agent, numpy_agent
from wirelessgym.check import check_agent, check_task
from wirelessgym.env import Env, VectorEnv
from wirelessgym.export import export
from wirelessgym.fields import CHARACTERS, Obs, concatenate, take
from wirelessgym.learned import LearnedAgent
from wirelessgym.registry import make_task
from wirelessgym.rollouts import rollout

ROWS = 7


def spoken(horizon: int = 3) -> Spoken:
    task = make_task(Spoken, horizon=horizon)
    assert isinstance(task, Spoken)
    return task


class Listener(Agent):
    """Does what the words say."""

    tasks = ("spoken",)

    def act(self, task: Any, obs: Obs) -> torch.Tensor:
        largest = torch.tensor([WANTS_LARGEST[PHRASES.index(wish)] for wish in obs["wish"]])
        sign = torch.where(largest, 1.0, -1.0)[:, None]
        return torch.nn.functional.one_hot((sign * obs["numbers"]).argmax(-1), NUMBERS).float()


def deaf(obs: dict[str, Any]) -> np.ndarray[Any, Any]:
    assert isinstance(obs["wish"], tuple)
    return np.eye(NUMBERS, dtype=np.float32)[obs["numbers"].argmax(-1)]


def universal(**options: Any) -> LearnedAgent:
    return learned("universal", **{"checkpoint": None, "extra_heads": {"spoken": SpokenHead}, **TINY_BACKBONE, **options})


def test_a_task_with_words_keeps_the_contract() -> None:
    assert [finding.sentence for finding in check_task(spoken()) if not finding.ok] == []


@pytest.mark.parametrize("name", ["listener", "random", "universal"])
def test_agents_of_a_task_with_words_keep_the_contract(name: str) -> None:
    agent: Agent = {"listener": Listener, "random": lambda: wirelessgym.make_agent("random"), "universal": universal}[name]()
    assert [finding.sentence for finding in check_agent(agent, spoken()) if not finding.ok] == []


def test_rows_of_words_are_taken_joined_and_pickled_with_the_rest() -> None:
    state, obs = spoken().reset(range(ROWS), seed=3)
    assert len(set(obs["wish"])) > 1
    assert take(obs, [4, 1])["wish"] == (obs["wish"][4], obs["wish"][1])
    assert take(state, slice(2, 4)).wish == state.wish[2:4]
    assert concatenate([take(obs, [0]), take(obs, [1])])["wish"] == obs["wish"][:2]
    assert pickle.loads(pickle.dumps((state, obs)))[0].wish == state.wish


def test_a_comparison_tells_who_listens() -> None:
    task = {"scenario": "rayleigh-32", "horizon": 3, "processes": 1, "show": False}
    table = wirelessgym.compare(Spoken, [Listener(), numpy_agent(deaf)], episodes=64, **task)
    hits = {record.agent: record.metrics["hit"].mean for record in table.records}
    assert hits["Listener"] == 1
    assert 0.3 < hits["deaf"] < 0.7
    assert 0.2 < hits["random"] < 0.5


def test_an_environment_with_words_passes_gymnasium_s_checks() -> None:
    env = Env(spoken())
    space = env.observation_space["wish"]
    assert isinstance(space, gymnasium.spaces.Text)
    assert (space.min_length, space.max_length, space.character_set) == (1, 40, frozenset(CHARACTERS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)
    obs, _ = env.reset(seed=3)
    assert obs["wish"] == spoken().reset([0], seed=3)[1]["wish"][0]
    assert obs in env.observation_space


@pytest.mark.parametrize("mode", ["SAME_STEP", "DISABLED"])
def test_a_batch_of_environments_says_to_each_row_what_it_says_alone(mode: str) -> None:
    alone = [Env(spoken(horizon=2)) for _ in range(ROWS)]
    batch = VectorEnv(spoken(horizon=2), ROWS, autoreset_mode=mode)
    obs, _ = batch.reset(seed=5)
    wishes = tuple(env.reset(seed=5 + row)[0]["wish"] for row, env in enumerate(alone))
    for step in range(1, 5):
        assert obs["wish"] == wishes and obs in batch.observation_space
        obs, _, _, truncated, infos = batch.step(np.ones((ROWS, NUMBERS), np.float32))
        wishes = tuple(env.step(np.ones(NUMBERS, np.float32))[0]["wish"] for env in alone)
        if step % 2 == 0:
            assert truncated.all()
            if mode == "SAME_STEP":
                assert tuple(last["wish"] for last in infos["final_obs"]) == wishes
            else:
                obs, _ = batch.reset()
            wishes = tuple(env.reset()[0]["wish"] for env in alone)


def test_rows_that_are_reset_by_a_mask_get_new_words_and_the_others_keep_theirs() -> None:
    batch = VectorEnv(spoken(), ROWS, autoreset_mode="DISABLED")
    before, _ = batch.reset(seed=5)
    mask = np.arange(ROWS) % 2 == 0
    after, _ = batch.reset(seed=[100 + row for row in range(ROWS)], options={"reset_mask": mask})
    fresh = [spoken().reset([0], seed=100 + row)[1]["wish"][0] for row in range(ROWS)]
    assert after["wish"] == tuple(new if chosen else old for new, old, chosen in zip(fresh, before["wish"], mask, strict=True))


def test_gymnasium_s_own_vector_environment_gives_the_same_words() -> None:
    ours = VectorEnv(spoken(), 3)
    theirs = gymnasium.vector.SyncVectorEnv([lambda: Env(spoken()) for _ in range(3)])
    assert theirs.reset(seed=5)[0]["wish"] == ours.reset(seed=5)[0]["wish"]
    assert theirs.observation_space == ours.observation_space


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_exported_words_are_strings(tmp_path: Path, ending: str) -> None:
    path = export(spoken(), tmp_path / f"words{ending}", episodes=70, seed=3)
    expected = list(spoken().reset(range(70), seed=3)[1]["wish"])
    if ending == ".npz":
        assert np.load(path, allow_pickle=False)["wish"].tolist() == expected
    else:
        with h5py.File(path) as file:
            assert file["wish"].asstr()[()].tolist() == expected


def test_the_universal_agent_hears_each_row_s_words() -> None:
    task = spoken()
    _, obs = task.reset(range(ROWS), seed=3)
    agent = universal()
    action = agent.act(task.spec, obs)
    other = agent.act(task.spec, obs | {"wish": ("take the top one", *obs["wish"][1:])})
    assert isinstance(action, torch.Tensor) and isinstance(other, torch.Tensor)
    assert obs["wish"][0] != "take the top one" and (other - action)[0].abs().max() > 1e-4
    torch.testing.assert_close(other[1:], action[1:], rtol=1e-5, atol=1e-6)
    rows = [agent.act(task.spec, take(obs, [row])) for row in range(ROWS)]
    torch.testing.assert_close(torch.cat(rows), action, rtol=1e-4, atol=1e-5)


def test_the_universal_agent_learns_what_the_words_mean() -> None:
    task = spoken(horizon=1)
    agent = universal(instructed=False)  # fewer words are quicker
    train(agent, task, *task.reset(range(48), seed=1), steps=8, learning_rate=3e-3)
    hit = rollout(task, lambda obs: agent.act(task.spec, obs), *task.reset(range(256), seed=2))["hit"].mean()
    assert hit > 0.75, "without the words no more than a half is possible"
