"""The protocol of learned agents: fresh weights, acting, losses, checkpoints and what tells weights apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from learnable import Learnable
from learned_agents import train
from torch import Tensor

from wirelessgym import make_task
from wirelessgym.checkpoint import CheckpointError, load_weights, read_card, refuse_oversized
from wirelessgym.evaluate.players import agent_specs
from wirelessgym.fields import Obs
from wirelessgym.learned import FIRST_TRAINING_SEED, FIRST_VALIDATION_SEED, LearnedAgent, seeded
from wirelessgym.registry import agents_for, checkpoint_folders, ids, make_agent
from wirelessgym.task import Task

TASK = make_task("precoding", scenario="rayleigh-32", num_users=4, horizon=1)
STATE, OBS = TASK.reset(range(8), seed=3)


class Shouting(LearnedAgent):
    """Detects by scaling what it matched; its loss is an error, which is better small."""

    def build(self, task: Task) -> torch.nn.Module:
        return torch.nn.Linear(1, 1)

    def forward(self, task: Task, obs: Obs) -> Tensor:
        scale = self.weights(task)(torch.ones(1))
        return scale * (obs["received"] @ obs["csi"].conj()) / obs["csi"].abs().square().sum(1)[:, None]


def fresh(**options: Any) -> Learnable:
    agent = Learnable(**{"dropout": 0.5, **options})
    agent.weights(TASK)
    return agent


@pytest.fixture
def trained() -> Learnable:
    agent = fresh(hidden=7)
    train(agent, TASK, STATE, OBS, steps=2, learning_rate=1e-2)
    return agent


def test_fresh_weights_follow_the_seed_and_nothing_else() -> None:
    torch.manual_seed(1)
    one = fresh()
    torch.manual_seed(2)
    assert fresh().fingerprint == one.fingerprint != fresh(seed=1).fingerprint


def test_building_leaves_the_global_generator_where_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fresh()
    assert torch.equal(torch.rand(3), expected)


def test_seeded_puts_the_generator_back_even_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded(3):
        torch.rand(1)
        1 / 0  # noqa: B018
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("mode", [True, False])
def test_acting_is_without_gradients_and_dropout_and_leaves_the_mode(mode: bool) -> None:
    agent = fresh()
    agent.weights(TASK).train(mode)
    action = agent.act(TASK, OBS)
    assert torch.equal(agent.act(TASK, OBS), action) and not action.requires_grad
    assert agent.weights(TASK).training is mode


def test_dropout_counts_in_training() -> None:
    agent = fresh()
    assert not torch.equal(agent.forward(TASK, OBS), agent.forward(TASK, OBS))


def test_the_loss_is_the_reward_turned_round() -> None:
    agent = fresh(dropout=0.0)
    rate = TASK.score(STATE, agent.forward(TASK, OBS))["sum_rate"].mean()
    assert agent.loss(TASK, STATE, OBS) == -rate
    detection = make_task("detection", scenario="rayleigh-32", num_users=4, horizon=1)
    state, obs = detection.reset(range(4), seed=3)
    shouting = Shouting()
    assert shouting.loss(detection, state, obs) == detection.score(state, shouting.forward(detection, obs))["nmse"].mean()


@pytest.mark.parametrize("agent", [Learnable(dropout=0.0), Shouting()], ids=["more is better", "less is better"])
def test_descending_on_the_loss_raises_the_reward(agent: LearnedAgent) -> None:
    name = "precoding" if isinstance(agent, Learnable) else "detection"
    task = make_task(name, scenario="rayleigh-32", num_users=4, horizon=1)
    state, obs = task.reset(range(8), seed=3)
    before = task.step(state, agent.act(task, obs))[1].reward.mean()
    train(agent, task, state, obs, steps=20, learning_rate=1e-2)
    assert task.step(state, agent.act(task, obs))[1].reward.mean() > before


def test_a_checkpoint_gives_options_and_weights_back(trained: Learnable, tmp_path: Path) -> None:
    folder = trained.save(tmp_path, {"training": {"steps": 2}})
    again = Learnable(checkpoint=folder)
    assert (again.hidden, again.dropout) == (7, 0.5)
    assert torch.equal(again.act(TASK, OBS), trained.act(TASK, OBS))
    assert again.fingerprint == trained.fingerprint


def test_an_option_that_is_given_outweighs_the_checkpoints(trained: Learnable, tmp_path: Path) -> None:
    folder = trained.save(tmp_path)
    assert Learnable(checkpoint=folder, dropout=0.25).dropout == 0.25
    with pytest.raises(CheckpointError, match=r"the checkpoint's weights don't fit: 0\.bias: expected \(9,\), got \(7,\), and"):
        Learnable(checkpoint=folder, hidden=9).weights(TASK)


def test_the_card_says_whose_the_weights_are_and_what_the_caller_adds(trained: Learnable, tmp_path: Path) -> None:
    card = read_card(trained.save(tmp_path, {"training": {"steps": 2}}))
    assert card["agent"] == trained.name and card["training"] == {"steps": 2}
    assert card["options"] == {"hidden": 7, "dropout": 0.5}
    assert card["trainable_parameters"] == trained.num_parameters == 3 * 7 + 7 + 7 * 2


def test_weights_are_counted_before_they_are_loaded(trained: Learnable, tmp_path: Path) -> None:
    folder = trained.save(tmp_path)
    assert Learnable(checkpoint=folder).num_parameters == trained.num_parameters
    assert Learnable().num_parameters == 0


def test_damaged_weights_load_nothing(trained: Learnable, tmp_path: Path) -> None:
    folder = trained.save(tmp_path)
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    agent = fresh(hidden=7)
    before = agent.fingerprint
    with pytest.raises(CheckpointError, match="corrupt, expected SHA-256"):
        agent.load(folder)
    assert agent.fingerprint == before


@pytest.mark.parametrize("value", [1_000_000, 10**18])
def test_options_for_more_layers_than_a_checkpoint_can_hold_are_refused_before_anything_is_built(
    value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_agent("cnn_precoder")
    assert isinstance(agent, LearnedAgent)
    agent.weights(TASK)
    card_path = agent.save(tmp_path) / "card.json"
    card = json.loads(card_path.read_text())
    card["options"]["layers"] = value
    card_path.write_text(json.dumps(card))
    monkeypatch.setattr(type(agent), "build", lambda *_: pytest.fail("built"))
    damaged = make_agent("cnn_precoder", checkpoint=tmp_path)
    assert isinstance(damaged, LearnedAgent)
    with pytest.raises(CheckpointError, match=rf"layers = {value}, but its weights are those of \d+ layers at most"):
        damaged.weights(TASK)


@pytest.mark.parametrize("folder", checkpoint_folders().values(), ids=checkpoint_folders())
def test_shipped_checkpoints_hold_the_layers_that_they_say(folder: Path) -> None:
    refuse_oversized(folder, load_weights(folder), read_card(folder)["options"])


def test_a_card_without_a_number_of_parameters_is_refused_in_words(trained: Learnable, tmp_path: Path) -> None:
    card_path = trained.save(tmp_path) / "card.json"
    card = json.loads(card_path.read_text())
    del card["trainable_parameters"]
    card_path.write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="expected trainable_parameters as an integer in the card, got None"):
        _ = Learnable(checkpoint=tmp_path).num_parameters


def test_weights_of_another_agent_are_refused(trained: Learnable, tmp_path: Path) -> None:
    card_path = trained.save(tmp_path) / "card.json"
    card_path.write_text(json.dumps(json.loads(card_path.read_text()) | {"agent": "detnet"}))
    with pytest.raises(CheckpointError, match=f"expected weights of '{trained.name}', got those of 'detnet'"):
        fresh(hidden=7).load(tmp_path)


def test_weights_are_loaded_into_built_ones(trained: Learnable, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"weights are loaded into built ones; call weights\(task\) first"):
        Learnable(hidden=7).load(trained.save(tmp_path))


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent.card\.json is missing; expected a folder with weights\.safetensors"):
        Learnable(checkpoint=tmp_path / "absent")


def test_agents_without_a_shipped_checkpoint_say_so() -> None:
    with pytest.raises(
        FileNotFoundError, match="Learnable: no checkpoint is shipped with it; train one, or leave the checkpoint out"
    ):
        Learnable(checkpoint="shipped")


def test_training_changes_the_fingerprint_and_a_copy_keeps_it(trained: Learnable) -> None:
    before = trained.fingerprint
    copy = cloudpickle.loads(cloudpickle.dumps(trained))
    assert copy.fingerprint == before
    assert torch.equal(copy.act(TASK, OBS), trained.act(TASK, OBS))
    train(trained, TASK, STATE, OBS, steps=1, learning_rate=1e-3)
    assert trained.fingerprint != before == copy.fingerprint


def test_agent_specs_tell_weights_apart(trained: Learnable) -> None:
    before = agent_specs([trained], ["precoding"])[0]
    assert agent_specs([trained], ["precoding"])[0].digest == before.digest
    assert before.parameters == trained.num_parameters
    train(trained, TASK, STATE, OBS, steps=1, learning_rate=1e-3)
    assert agent_specs([trained], ["precoding"])[0].digest != before.digest


def test_learned_agents_of_the_registry_take_part_only_when_named() -> None:
    names = {"set_transformer", "cnn_precoder", "universal"}
    assert names <= set(agents_for("precoding"))
    assert not names & (default := {entry.name for entry in agent_specs(None, ["precoding"])})
    assert "gmm_wmmse" in default  # fitted, and its mixtures come with it


@pytest.mark.parametrize("name", ids("agents"))
def test_learned_agents_of_the_registry_have_equal_options_when_made_alike(name: str) -> None:
    options = {"checkpoint": None} if name == "universal" else {}
    agent = make_agent(name, **options)
    if isinstance(agent, LearnedAgent):
        plain = agent.options()
        assert json.loads(json.dumps(plain)) == plain
        assert not {"checkpoint", "seed"} & set(plain)
        assert make_agent(name, **{**options, **plain}).options() == plain


def test_training_validation_and_comparisons_draw_from_seeds_of_their_own() -> None:
    assert 0 < FIRST_TRAINING_SEED < FIRST_VALIDATION_SEED < 2**63


def test_weights_are_not_loaded_into_an_agent_that_has_none_yet(trained: Learnable, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"call weights\(task\) first, or give checkpoint="):
        Learnable().load(trained.save(tmp_path))


def test_a_checkpoint_may_lie_in_the_home_folder(trained: Learnable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    trained.save(tmp_path / "run")
    assert Learnable(checkpoint="~/run").hidden == Learnable(checkpoint=tmp_path / "run").hidden == 7
