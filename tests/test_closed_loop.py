"""Tasks whose actions change what comes: every door plays them as they are played by hand."""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from noisy_number import NoisyNumber, echo
from queues_task import First, Longest, Queues, by_hand

from wirelessgym import compare, make_task, rollout
from wirelessgym.agent import Agent
from wirelessgym.check import check_task
from wirelessgym.env import Env, VectorEnv
from wirelessgym.evaluate.outcomes import bounds
from wirelessgym.rollouts import Trajectory

HORIZON = 12
QUIET = {"processes": 1, "show": False, "progress": False, "horizon": HORIZON}
AGENTS = {"Longest": Longest(), "First": First()}


def task(**options):
    return make_task(Queues, horizon=HORIZON, **options)


@pytest.mark.parametrize("limit", [1000, 3])
def test_compare_plays_every_agent_through_its_own_consequences(limit):
    table = compare(Queues, list(AGENTS.values()), episodes=20, seed=7, limit=limit, **QUIET)
    for record in table.records[:2]:
        episodes = [by_hand(record.agent, limit, n, 7, HORIZON) for n in range(20)]
        served = np.mean([np.mean([served for served, _ in played]) for played in episodes])
        waiting = sum(sum(backlog) for played in episodes for _, backlog in played) / sum(map(len, episodes))
        assert record.metrics["served"].mean == pytest.approx(served, rel=1e-6)
        assert record.metrics["backlog"].mean == pytest.approx(waiting, rel=1e-6)
    assert table.records[0].metrics["backlog"].mean < table.records[1].metrics["backlog"].mean


def test_a_deadline_changes_nothing_for_agents_in_time():
    plain = compare(Queues, list(AGENTS.values()), episodes=4, limit=3, **QUIET)
    timed = compare(Queues, list(AGENTS.values()), episodes=4, limit=3, deadline_s=10.0, **QUIET)
    for one, other in zip(plain.records, timed.records, strict=True):
        if one.role == "agent":
            assert one.metrics == other.metrics
            assert other.fallbacks == 0


def test_a_bound_counts_as_long_as_the_episode_does():
    class Short(NoisyNumber):
        def terminated(self, state):
            return state.time_step >= 1 + state.episode % 3

    whole, short = make_task(NoisyNumber, horizon=6), make_task(Short, horizon=6)
    start = whole.reset(range(6), 7)
    taken = [rollout(task, echo, *start)["squared_error"].nansum(1) for task in (whole, short)]
    found = [bounds(task, start, Trajectory(task, *start)).episodes["squared_error"] for task in (whole, short)]
    for actual, bound in zip(taken, found, strict=True):  # the bound of this task is an error of a quarter of the noise
        np.testing.assert_allclose(bound, actual.numpy() / 16, rtol=1e-5)


@pytest.mark.parametrize("name", AGENTS)
def test_environments_play_as_by_hand(name):
    env, vector = Env(task(limit=3)), VectorEnv(task(limit=3), 3, autoreset_mode="DISABLED")
    obs, _ = env.reset(seed=7)
    many, _ = vector.reset(seed=7)
    played = by_hand(name, 3, 0, 7, HORIZON)
    for slot, (served, backlog) in enumerate(played):
        np.testing.assert_array_equal(obs["backlog"], backlog)
        np.testing.assert_array_equal(many["backlog"][0], backlog)
        action = AGENTS[name].act(None, {key: torch.from_numpy(value) for key, value in many.items()}).numpy()
        obs, reward, terminated, truncated, _ = env.step(action[0])
        many, rewards, terminations, truncations, _ = vector.step(action)
        assert reward == rewards[0] == served
        assert (terminated, truncated) == (bool(terminations[0]), bool(truncations[0]))
        last = slot == len(played) - 1
        assert (terminated or truncated) == last
        assert terminated == (last and len(played) < HORIZON)
        if terminations.any() or truncations.any():
            return


def test_a_rollout_ends_rows_by_themselves():
    short = task(limit=2)
    state, obs = short.reset(range(20), 7)
    metrics = rollout(short, lambda seen: First().act(None, seen), state, obs)
    lengths = [len(by_hand("First", 2, n, 7, HORIZON)) for n in range(20)]
    assert metrics["served"].isfinite().sum(1).tolist() == lengths
    assert len(set(lengths)) > 2


def test_all_agents_meet_the_same_arrivals():
    states = {name: [task().reset([3], 5)] for name in AGENTS}
    for name, agent in AGENTS.items():
        for _ in range(4):
            state, obs = states[name][-1]
            states[name].append(task().advance(state, agent.act(None, obs)))
    for (one, _), (other, _) in zip(*states.values(), strict=True):
        torch.testing.assert_close(task().arrivals(one), task().arrivals(other), rtol=0, atol=0)


def test_check_accepts_a_closed_loop_and_finds_a_false_one():
    assert all(finding.ok for finding in check_task(task())), check_task(task())

    class CalledOpen(Queues):
        open_loop = True

    class CalledClosed(NoisyNumber):
        open_loop = False

    for cls, said in ((CalledOpen, "an action changes the next state"), (CalledClosed, "lead to the same state")):
        assert any(said in finding.sentence for finding in check_task(make_task(cls, horizon=4)) if not finding.ok)


def test_the_task_that_the_guide_shows_keeps_the_contract_and_rewards_thrift(tmp_path, monkeypatch):
    guide = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text().partition("## Add a task")[2]
    (tmp_path / "harvest_of_the_guide.py").write_text(re.search(r"```python\n(.*?)```", guide, re.DOTALL)[1])
    monkeypatch.syspath_prepend(tmp_path)
    harvest = importlib.import_module("harvest_of_the_guide").Harvest
    findings = check_task(make_task(harvest, horizon=4))
    assert all(finding.ok for finding in findings), findings

    def shares(share):
        def agent(obs):
            return torch.full_like(obs["battery"], share)

        agent.__name__ = f"share_{share}"
        return agent

    table = compare(harvest, [shares(0.4), shares(1.0)], episodes=64, **QUIET)
    assert table.exit_code == 0, [record.traceback for record in table.records]
    thrifty, spendthrift = (record.metrics["rate"].mean for record in table.records[:2])
    assert thrifty > spendthrift


def test_a_shared_trajectory_changes_no_result():
    class Apart(NoisyNumber):
        open_loop = False

    tables = [compare(cls, [echo], episodes=8, seed=3, **QUIET) for cls in (NoisyNumber, Apart)]
    assert tables[0].records[0].metrics == tables[1].records[0].metrics


def test_a_genie_is_handed_the_state_and_others_are_not(tmp_path):
    @dataclass(frozen=True)
    class Genie(Agent):
        needs_state = True

        def act(self, task, obs):
            raise AssertionError("a genie acts on the state")

        def act_on_state(self, task, state, obs):
            return state.x

    table = compare(NoisyNumber, [Genie(), echo], episodes=4, **QUIET)
    genie = next(record for record in table.records if record.agent == "Genie")
    assert genie.role == "genie"
    assert genie.metrics["nmse"].mean == 0
    assert "| _Genie" in table.to_markdown(tmp_path / "report.md").read_text()
    assert "sees what no agent sees" in table.to_html(tmp_path / "report.html").read_text()
