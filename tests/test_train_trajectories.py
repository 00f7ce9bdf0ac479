"""Training of tasks whose actions have consequences: on whole trajectories, and validated on whole episodes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from battery import Battery, Saver, best, planner
from test_train import course

from wirelessgym import make_task
from wirelessgym.learned import LearnedAgent
from wirelessgym.rollouts import Rollout
from wirelessgym.train import train

HORIZON = 5
RUN = {
    "agent": "battery:Saver",
    "steps": 6,
    "validate_every": 2,
    "checkpoint_every": 3,
    "learning_rate": 0.3,
    "weight_decay": 0.0,
    "warmup_steps": 1,
    "gradient_clip": 100.0,
    "samples_per_episode": 4,
    "draw_ahead": False,
    "tasks": [{"task": "battery", "batch": 8, "validation_episodes": 24, "overrides": {"horizon": HORIZON}}],
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    class Point:
        @staticmethod
        def load():
            return Battery

    monkeypatch.setattr("wirelessgym.registry._plugins", lambda kind: {"battery": Point} if kind == "tasks" else {})


def validations(out: Path) -> list[float]:
    with (out / "validation.csv").open(newline="") as file:
        return [float(row["value"]) for row in csv.DictReader(file)]


def test_training_finds_the_policy_that_planning_finds(tmp_path: Path):
    agent = train(RUN | {"steps": 60, "validate_every": 60}, tmp_path / "run", progress=False)
    task = make_task(Battery, horizon=HORIZON)
    state, obs = task.reset(range(24), seed=2**62)
    ideal = Rollout(task, state, obs).play(lambda _, seen: planner(seen, HORIZON))
    planned = torch.stack([task.reward(step.metrics) for step in ideal]).mean().item()
    first, last = validations(tmp_path / "run")
    assert planned == pytest.approx(best(HORIZON) / HORIZON, rel=0.25)  # 24 episodes
    assert first < 0.8 * planned
    assert last > 0.97 * planned
    assert not agent.weights(task).training


def test_validation_plays_whole_episodes_and_takes_the_likeliest_actions(tmp_path: Path):
    agent = train(RUN | {"steps": 2}, tmp_path / "run", progress=False)
    task = make_task(Battery, horizon=HORIZON)
    steps = Rollout(task, *task.reset(range(24), seed=2**62)).play(lambda _, seen: agent.act(task, seen))
    earned = torch.stack([step.metrics["earned"] for step in steps]).mean().item()
    assert validations(tmp_path / "run")[-1] == pytest.approx(earned, rel=1e-6)


def test_of_an_episode_that_ends_early_validation_counts_what_was_played(tmp_path: Path):
    class Patient(Saver):
        def policy(self, task, obs):
            return super().policy(task, obs) + torch.tensor([5.0, 0.0]) * (obs["energy"] < 2)[:, None]

    fragile = RUN["tasks"][0] | {"overrides": {"horizon": HORIZON, "fragile": True}}
    agent = train(RUN | {"steps": 2, "tasks": [fragile]}, tmp_path / "run", progress=False, agent=Patient())
    task = make_task(Battery, horizon=HORIZON, fragile=True)
    steps = list(Rollout(task, *task.reset(range(24), seed=2**62)).play(lambda _, seen: agent.act(task, seen)))
    live = torch.stack([step.live for step in steps])
    assert not live.all()
    earned = torch.stack([step.metrics["earned"] for step in steps])
    mean = (torch.where(live, earned, 0.0).sum(0) / live.sum(0)).mean().item()
    assert validations(tmp_path / "run")[-1] == pytest.approx(mean, rel=1e-6)


def test_an_interrupted_run_samples_the_actions_that_it_would_have_sampled(tmp_path: Path):
    class Stop(Saver):
        def trajectory_loss(self, task, state, obs, generator, progress=1.0, settings=None):
            if progress == 0.5:
                raise ConnectionError
            return super().trajectory_loss(task, state, obs, generator, progress, settings)

    whole = train(RUN, tmp_path / "whole", progress=False)
    with pytest.raises(ConnectionError):
        train(RUN, tmp_path / "broken", progress=False, agent=Stop())
    config = tmp_path / "broken" / "config.toml"
    config.write_text((tmp_path / "whole" / "config.toml").read_text())
    assert train(RUN, tmp_path / "broken", resume=True, progress=False).fingerprint == whole.fingerprint
    assert course(tmp_path / "broken") == course(tmp_path / "whole")


@pytest.mark.parametrize("key", [{"samples_per_episode": 3}, {"entropy_bonus": 0.1}, {"discount": 0.9}])
def test_every_setting_of_the_score_function_reaches_the_loss(key, tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    train(RUN | {"steps": 2}, one, progress=False)
    train(RUN | {"steps": 2} | key, other, progress=False)
    assert course(one)[0] != course(other)[0]


def test_an_agent_without_a_policy_is_refused(tmp_path: Path):
    class Mute(LearnedAgent):
        def build(self, task):
            return torch.nn.Linear(1, 1)

        def forward(self, task, obs):
            return torch.zeros_like(obs["slot"])

    with pytest.raises(NotImplementedError, match="Mute: battery needs a `policy`"):
        train(RUN, tmp_path / "run", progress=False, agent=Mute())
