"""The universal agent: one set of weights for every task, its checkpoints, and what training reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from learned_agents import equal_actions, learned, parameters_without_gradient, train
from noisy_number import NoisyNumber
from torch import Tensor
from universal_agents import TASKS, TINY_BACKBONE, episodes, stirred, universal

import wirelessgym
from wirelessgym import make_agent
from wirelessgym.check import check_agent
from wirelessgym.checkpoint import CheckpointError, read_card
from wirelessgym.evaluate.roster import roster
from wirelessgym.evaluate.settings import settings_of
from wirelessgym.learned import LearnedAgent
from wirelessgym.registry import agents_for, load_scenario
from wirelessgym.task import Task

HARD: dict[str, dict[str, Any]] = {
    "precoding": {"num_users": (2, 6), "csi_snr_db": (0, 20)},
    "detection": {"num_users": (3, 8), "snr_db": (0, 20)},
    "channel_prediction": {},
}


def hard(name: str) -> tuple[Task, Any, dict[str, Tensor]]:
    return episodes(name, **HARD[name])


def acted(agent: LearnedAgent, name: str) -> Any:
    task, _, obs = hard(name)
    return agent.act(task, obs)


def trained(**options: Any) -> LearnedAgent:
    """An agent that is away from its start in every task."""
    return stirred(universal(**options), *(hard(name)[0] for name in TASKS))


@pytest.fixture(scope="module")
def with_language() -> LearnedAgent:
    return trained(**TINY_BACKBONE)


@pytest.fixture(scope="module")
def folder(with_language: LearnedAgent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the agent with a language model."""
    return with_language.save(tmp_path_factory.mktemp("language"), {"note": "for tests"})


@pytest.mark.parametrize("name", TASKS)
def test_it_does_every_task(name: str) -> None:
    assert "universal" in agents_for(name)


@pytest.mark.parametrize("name", TASKS)
def test_fresh_weights_act_alike_whatever_their_seed_and_language_model(name: str, with_language: LearnedAgent) -> None:
    fresh = acted(universal(), name)
    assert equal_actions(acted(universal(seed=1), name), fresh)
    assert equal_actions(acted(universal(**TINY_BACKBONE), name), fresh)
    assert not equal_actions(acted(with_language, name), fresh)


@pytest.mark.parametrize("name", TASKS)
def test_the_contract_holds_away_from_the_start_and_with_a_language_model(name: str, with_language: LearnedAgent) -> None:
    assert [finding.sentence for finding in check_agent(with_language, hard(name)[0]) if not finding.ok] == []


@pytest.mark.parametrize("name", TASKS)
def test_what_it_is_told_changes_what_it_does(name: str, with_language: LearnedAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    before = acted(with_language, name)
    monkeypatch.setattr(with_language, "instructed", False)
    assert with_language.words(hard(name)[0]) == ""
    assert not equal_actions(acted(with_language, name), before)


@pytest.mark.parametrize("name", TASKS)
def test_it_is_told_the_same_in_training_and_in_comparisons(name: str) -> None:
    task, agent = hard(name)[0], universal()
    assert agent.words(settings_of(task)) == agent.words(task)


def test_heads_do_not_depend_on_the_order_in_which_tasks_are_met() -> None:
    one, other = universal(), universal()
    for names, agent in ((TASKS, one), (TASKS[::-1], other)):
        for name in names:
            agent.weights(hard(name)[0])
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("name", TASKS)
def test_a_step_of_training_later_gradients_reach_every_weight(name: str) -> None:
    # At first the silent last layers, and LoRA's, hold back what lies before them.
    task, state, obs = hard(name)
    agent = universal(**TINY_BACKBONE, prefix_tokens=2)
    assert any("lora_A" in key for key, p in agent.weights(task).named_parameters() if p.requires_grad)
    train(agent, task, state, obs, steps=2, learning_rate=1e-3)
    assert not parameters_without_gradient(agent, task)


@pytest.mark.parametrize("name", TASKS)
def test_training_lowers_the_loss_on_what_it_is_trained_on(name: str) -> None:
    task, state, obs = hard(name)
    losses = train(universal(), task, state, obs, steps=12, learning_rate=1e-3)
    assert min(losses[6:]) < losses[0] - 1e-3 * abs(losses[0])


def test_acting_leaves_no_gradients_and_the_mode_as_it_was() -> None:
    task, _, obs = hard("precoding")
    agent = trained()
    for mode in (True, False):
        agent.weights(task).train(mode)
        assert not agent.act(task, obs).requires_grad
        assert agent.weights(task).training is mode


@pytest.mark.parametrize("order", [TASKS, TASKS[::-1]], ids=["same order", "other order"])
def test_a_checkpoint_gives_the_same_actions_in_whatever_order_tasks_are_met(
    order: tuple[str, ...], with_language: LearnedAgent, folder: Path
) -> None:
    again = learned("universal", checkpoint=folder)
    for name in order:
        assert equal_actions(acted(again, name), acted(with_language, name))
    assert again.fingerprint == with_language.fingerprint
    assert again.num_parameters == with_language.num_parameters


def test_heads_of_tasks_not_met_since_loading_are_saved_again(tmp_path: Path) -> None:
    agent = trained()
    again = learned("universal", checkpoint=agent.save(tmp_path / "first"))
    acted(again, "detection")
    last = learned("universal", checkpoint=again.save(tmp_path / "second"))
    for name in TASKS:
        assert equal_actions(acted(last, name), acted(agent, name))


def test_a_task_that_a_checkpoint_never_met_starts_fresh(tmp_path: Path) -> None:
    agent = stirred(universal(), hard("precoding")[0])
    again = learned("universal", checkpoint=agent.save(tmp_path))
    assert equal_actions(acted(again, "detection"), acted(universal(), "detection"))
    assert equal_actions(acted(again, "precoding"), acted(agent, "precoding"))


def test_loading_replaces_the_heads_that_are_already_there(tmp_path: Path) -> None:
    agent, other = trained(), trained(seed=1)
    assert not equal_actions(acted(other, "precoding"), acted(agent, "precoding"))
    other.load(agent.save(tmp_path))
    for name in TASKS:
        assert equal_actions(acted(other, name), acted(agent, name))


def test_options_come_from_the_checkpoint_unless_others_are_given(folder: Path) -> None:
    agent = make_agent("universal", checkpoint=folder)
    assert (agent.backbone, agent.layers, agent.dtype) == ("random", 1, "float32")
    assert make_agent("universal", checkpoint=folder, backbone="none").backbone == "none"
    assert make_agent("universal", checkpoint=None).layers == 6


def test_the_card_tells_options_and_backbone_and_not_where_it_was_trained(folder: Path, with_language: LearnedAgent) -> None:
    card = read_card(folder)
    assert card["options"]["rank"] == 8 and card["options"]["targets"] == ["q_proj", "v_proj"]
    assert "device" not in card["options"]
    assert card["backbone"]["name"] == "random" and card["backbone"]["layers"] == 1
    assert card["trainable_parameters"] == with_language.num_parameters
    assert card["note"] == "for tests"


def test_a_checkpoint_holds_what_was_trained_and_no_more(folder: Path, with_language: LearnedAgent) -> None:
    # In float32 with a few bytes of names: the language model would be a hundred times as much.
    size = (folder / "weights.safetensors").stat().st_size
    assert 4 * with_language.num_parameters <= size < 4.2 * with_language.num_parameters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 2}, "universal: the checkpoint was trained on a backbone with layers 1, got 2"),
        ({"backbone": "none"}, "universal: the checkpoint was trained on a backbone with name 'random', got None"),
        ({"seed": 5}, "universal: the checkpoint was trained on a backbone with seed 0, got 5"),
    ],
    ids=["layers", "name", "seed"],
)
def test_another_backbone_is_refused_by_what_differs(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        acted(learned("universal", checkpoint=folder, **options), "precoding")


def test_other_adapters_are_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"universal: the checkpoint's weights don't fit: .*lora_A"):
        acted(learned("universal", checkpoint=folder, rank=3), "precoding")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    path = trained().save(tmp_path) / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="corrupt, expected SHA-256"):
        acted(learned("universal", checkpoint=tmp_path), "precoding")


def test_weights_of_another_agent_are_refused(tmp_path: Path) -> None:
    task, _, obs = hard("precoding")
    rival = learned("set_transformer")
    rival.act(task, obs)
    with pytest.raises(CheckpointError, match="expected weights of 'universal', got those of 'set_transformer'"):
        acted(learned("universal", checkpoint=rival.save(tmp_path), backbone="none"), "precoding")


def test_without_a_shipped_checkpoint_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wirelessgym.learned._home", lambda: tmp_path)
    with pytest.raises(
        FileNotFoundError, match="universal: no checkpoint is shipped with it; train one, or leave the checkpoint"
    ):
        make_agent("universal")


def test_trained_weights_are_told_apart_from_fresh_ones() -> None:
    task, state, obs = hard("precoding")
    agent = universal()
    acted(agent, "precoding")
    before, entry = agent.fingerprint, roster([agent], "precoding")[0]
    train(agent, task, state, obs, steps=1, learning_rate=1e-3)
    assert agent.fingerprint != before
    assert roster([agent], "precoding")[0].digest != entry.digest


def test_a_comparison_that_goes_on_keeps_no_outcomes_of_other_weights(tmp_path: Path) -> None:
    task, state, obs = hard("precoding")
    agent = universal()

    def mean_rate(**options: Any) -> float:
        settings = {"scenario": "uma-nlos-16", "horizon": 1, "num_users": 6, "csi_snr_db": 5, "processes": 1, "show": False}
        table = wirelessgym.compare("precoding", [agent], episodes=4, **settings, **options)
        (record,) = (record for record in table.records if record.agent == "universal")
        return record.metrics["sum_rate"].mean

    before = mean_rate(out=tmp_path)
    train(agent, task, state, obs, steps=3, learning_rate=1e-2)
    after = mean_rate(out=tmp_path)
    assert after != before
    assert after == mean_rate()


def test_a_task_without_a_head_is_refused_in_words() -> None:
    task = NoisyNumber(load_scenario("rayleigh-32"))
    with pytest.raises(
        ValueError, match=r"preset: 'default' has no head for 'noisy_number'; it would stand in default/noisy_number\.py"
    ):
        universal().weights(task)


def test_another_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="preset: expected 'default' or 'paper', got 'best'"):
        universal(preset="best")
