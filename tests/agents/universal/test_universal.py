"""The universal agent: one set of weights for every task, its checkpoints, and what training reaches."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from learned_agents import bfloat16_changes_the_loss_by, equal_actions, learned, parameters_without_gradient, train
from noisy_number import NoisyNumber
from torch import Tensor
from universal_agents import TASKS, TINY_BACKBONE, episodes, stirred, universal

import wirelessgym
import wirelessgym.train
from wirelessgym import make_agent
from wirelessgym.agent_names import named_agent
from wirelessgym.check import check_agent
from wirelessgym.checkpoint import CheckpointError, read_card, save_weights
from wirelessgym.evaluate.players import agent_specs
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
    assert with_language.instruction(hard(name)[0]) == ""
    assert not equal_actions(acted(with_language, name), before)


@pytest.mark.parametrize("name", TASKS)
def test_it_is_told_the_same_in_training_and_in_comparisons(name: str) -> None:
    task, agent = hard(name)[0], universal()
    assert agent.instruction(task.spec) == agent.instruction(task)


def test_heads_do_not_depend_on_the_order_in_which_tasks_are_met() -> None:
    one, other = universal(), universal()
    for names, agent in ((TASKS, one), (TASKS[::-1], other)):
        for name in names:
            agent.weights(hard(name)[0])
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("name", TASKS)
def test_a_step_of_training_later_gradients_reach_every_weight(name: str) -> None:
    # At first the last layers, still zero, and LoRA's, hold back what lies before them.
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


@pytest.mark.parametrize("loaded", [False, True], ids=["option", "load"])
def test_a_task_that_a_checkpoint_never_met_is_trained_before_it_acts(loaded: bool, tmp_path: Path) -> None:
    agent = stirred(universal(), hard("precoding")[0])
    folder = agent.save(tmp_path)
    again = universal(checkpoint=None if loaded else folder)
    if loaded:
        again.weights(hard("precoding")[0])
        again.load(folder)
    refusal = "universal: expected a checkpoint with a head for detection, got one for precoding; train it on detection first"
    for _ in range(2):
        with pytest.raises(CheckpointError, match=refusal):
            acted(again, "detection")
    train(again, *hard("detection"), steps=0, learning_rate=1e-3)
    assert equal_actions(acted(again, "detection"), acted(universal(), "detection"))
    assert equal_actions(acted(again, "precoding"), acted(agent, "precoding"))
    with pytest.raises(CheckpointError, match=refusal):
        again.load(folder)


def test_a_run_teaches_a_checkpoint_another_task(tmp_path: Path) -> None:
    agent = stirred(universal(), hard("precoding")[0])
    entry = {"task": "detection", "scenario": "rayleigh-32", "batch": 2, "validation_episodes": 2}
    configuration = {
        "agent": "universal", "agent_options": {"checkpoint": str(agent.save(tmp_path / "first"))},
        "steps": 1, "warmup_steps": 0, "draw_ahead": False, "tasks": [entry],
    }  # fmt: skip
    wirelessgym.train.train(configuration, tmp_path / "run", progress=False)
    again = learned("universal", checkpoint=tmp_path / "run" / "last")
    assert not equal_actions(acted(again, "detection"), acted(universal(), "detection"))
    assert equal_actions(acted(again, "precoding"), acted(agent, "precoding"))


def test_a_head_that_does_not_fit_is_refused_each_time_and_not_kept(tmp_path: Path) -> None:
    agent = trained()
    tensors = agent.saved_tensors()
    name = next(key for key in tensors if key.startswith("heads.detection."))
    folder = save_weights(tensors | {name: torch.zeros(1, 2, 3)}, read_card(agent.save(tmp_path)), tmp_path)
    again = learned("universal", checkpoint=folder)
    for _ in range(2):
        with pytest.raises(CheckpointError, match=f"the checkpoint's weights don't fit: .*{name.split('.', 2)[2]}"):
            acted(again, "detection")
    assert equal_actions(acted(again, "precoding"), acted(agent, "precoding"))


def test_a_refused_checkpoint_leaves_nothing_behind(with_language: LearnedAgent, tmp_path: Path) -> None:
    tensors = with_language.saved_tensors()
    name = next(key for key in tensors if key.startswith("heads.detection."))
    folder = save_weights(tensors | {name: torch.zeros(1, 2, 3)}, read_card(with_language.save(tmp_path)), tmp_path)
    fresh = universal(**TINY_BACKBONE)
    for task in ("precoding", "detection"):
        fresh.weights(hard(task)[0])
    before = fresh.fingerprint
    with pytest.raises(CheckpointError, match="don't fit"):
        fresh.load(folder)
    assert fresh.fingerprint == before
    assert equal_actions(acted(fresh, "channel_prediction"), acted(universal(**TINY_BACKBONE), "channel_prediction"))


@pytest.mark.parametrize("name", TASKS)
def test_observations_and_new_heads_follow_weights_that_were_moved(name: str) -> None:
    agent = universal(**TINY_BACKBONE, prefix_tokens=2)
    agent.weights(hard("precoding")[0]).to("meta")  # as a trainer moves them to a GPU
    task, _, obs = hard(name)
    action = agent.forward(task, {key: value.to("meta") for key, value in obs.items()})
    assert {value.device.type for value in (action.values() if isinstance(action, dict) else [action])} == {"meta"}
    assert {parameter.device.type for parameter in agent.weights(task).parameters()} == {"meta"}


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


def test_random_base_weights_of_any_seed_are_found_again(tmp_path: Path) -> None:
    agent = stirred(universal(**TINY_BACKBONE, seed=3), hard("precoding")[0])
    again = learned("universal", checkpoint=agent.save(tmp_path))
    assert equal_actions(acted(again, "precoding"), acted(agent, "precoding"))
    assert again.seed == 3
    with pytest.raises(CheckpointError, match="universal: the checkpoint was trained on a backbone with seed 3, got 5"):
        acted(learned("universal", checkpoint=tmp_path, seed=5), "precoding")


def test_the_same_files_are_the_same_backbone_wherever_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, files = universal(), {"name": "/here", "layers": 1, "architecture": "llama", "sha256": "1f", "seed": None}
    made = files | {"name": "random", "sha256": "", "seed": 0}
    for mine, theirs, differs in (
        (files, files | {"name": "/there"}, None),
        (files, files | {"name": "/there", "layers": 2}, "layers 2, got 1"),
        (files, files | {"sha256": "2e"}, "sha256 '2e', got '1f'"),
        (made, made | {"name": "gpt2-random"}, "name 'gpt2-random', got 'random'"),
        (files | {"quantisation": "nf4"}, files, None),
        (
            files | {"quantisation": "nf4"},
            files | {"quantisation": "loftq"},
            "quantisation 'loftq', got 'nf4'; checkpoint=None",
        ),
        (files | {"quantisation": "loftq"}, files, "quantisation None, got 'loftq'"),
    ):
        monkeypatch.setattr(agent, "card", lambda mine=mine: {"backbone": mine})
        with pytest.raises(CheckpointError, match=differs) if differs else nullcontext():
            agent.check_card({"backbone": theirs})


def test_a_single_target_may_stand_alone() -> None:
    agent = universal(**TINY_BACKBONE, targets="q_proj")
    adapters = [key for key, _ in agent.weights(hard("precoding")[0]).named_parameters() if "lora_" in key]
    assert len(adapters) == 2 and all("q_proj" in key for key in adapters)
    assert agent.options()["targets"] == ["q_proj"]


def test_other_adapters_are_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"weights don't fit: .*lora_A.*: expected \(3, 576\), got \(8, 576\), and"):
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
    before, entry = agent.fingerprint, agent_specs([agent], ["precoding"])[0]
    train(agent, task, state, obs, steps=1, learning_rate=1e-3)
    assert agent.fingerprint != before
    assert agent_specs([agent], ["precoding"])[0].digest != entry.digest


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
        ValueError, match="no head for task 'noisy_number'; add one by an entry point 'noisy_number' in the group"
    ):
        universal().weights(task)


def test_another_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="preset: expected 'classical_init' or 'paper', got 'best'"):
        universal(preset="best")


@pytest.mark.parametrize("name", TASKS)
def test_under_mixed_precision_heads_do_their_physics_in_full(name: str, with_language: LearnedAgent) -> None:
    task, state, obs = hard(name)
    assert bfloat16_changes_the_loss_by(universal(), task, state, obs) == 0
    assert bfloat16_changes_the_loss_by(with_language, task, state, obs) < 0.02


@pytest.mark.parametrize("word", ["none", '"none"'])
def test_no_backbone_can_be_asked_for_with_or_without_quotes(word: str) -> None:
    agent = named_agent(f"universal:checkpoint=none:backbone={word}")
    assert isinstance(agent, LearnedAgent)
    assert agent.options()["backbone"] == "none"


@pytest.mark.parametrize("name", TASKS)
def test_channels_may_be_as_weak_as_a_path_loss_leaves_them(name: str) -> None:
    task, _, obs = hard(name)
    agent = stirred(universal(), task)
    amplitudes = {"csi": 1e-6, "received": 1e-6, "noise_power": 1e-12, "csi_noise_power": 1e-12}
    weak = {key: value * amplitudes.get(key, 1.0) for key, value in obs.items()}
    before, after = agent.act(task, obs), agent.act(task, weak)
    assert isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor)
    if name == "channel_prediction":
        after = after / 1e-6
    assert (after - before).abs().max() < 1e-2 * before.abs().max()


def test_heads_of_another_preset_are_refused(folder: Path) -> None:
    with pytest.raises(
        CheckpointError, match="has heads of preset 'classical_init', got 'paper'; checkpoint=None gives fresh weights"
    ):
        acted(learned("universal", checkpoint=folder, preset="paper"), "precoding")


def test_a_backbone_may_be_given_as_a_path() -> None:
    assert universal(backbone=Path("somewhere/llama")).options()["backbone"] == str(Path("somewhere/llama"))
