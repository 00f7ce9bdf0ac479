"""The learned predictors of the literature: what they see, what they train, and their own checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from learned_agents import (
    bfloat16_changes_the_loss_by,
    equal_actions,
    learned,
    parameters_without_gradient,
    survives_a_round_trip,
    train,
    training_task,
)
from torch import Tensor

from wirelessgym import make_agent, make_task
from wirelessgym.check import check_agent
from wirelessgym.checkpoint import CheckpointError
from wirelessgym.task import Task

SMALL: dict[str, dict[str, Any]] = {
    "rnn": {"hidden": 32},
    "lstm": {"hidden": 32},
    "gru": {"hidden": 32},
    "transformer": {"width": 32, "heads": 2},
    "llm4cp": {"channels": 4, "blocks": 1, "layers": 2},
}
NAMES = tuple(SMALL)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a GPT-2 of three narrow layers."""
    yield saved_gpt2(tmp_path_factory.mktemp("gpt2"), seed=1)


def saved_gpt2(folder: Path, seed: int) -> Path:
    from transformers import GPT2Config, GPT2Model

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        GPT2Model(GPT2Config(n_layer=3, n_embd=32, n_head=2, n_positions=64, vocab_size=50)).save_pretrained(folder)
    return folder


@pytest.fixture(params=NAMES)
def small(request: pytest.FixtureRequest, gpt2: Path) -> tuple[str, dict[str, Any]]:
    """Each predictor's name, and options that make it small."""
    options = SMALL[request.param]
    return request.param, options | ({"backbone": gpt2} if request.param == "llm4cp" else {})


def episodes(batch: int = 3, **overrides: Any) -> tuple[Task, Any, dict[str, Tensor]]:
    task = make_task("channel_prediction", scenario="uma-nlos-16", num_subcarriers=6, horizon=1, snr_db=20, **overrides)
    return task, *task.reset(range(batch), seed=5)


@pytest.fixture(scope="module")
def played() -> tuple[Task, Any, dict[str, Tensor]]:
    return episodes()


def test_predictions_scale_with_the_channel(small: Any, played: Any) -> None:
    name, options = small
    task, _, obs = played
    agent = learned(name, **options)
    once, louder = agent.act(task, obs), agent.act(task, obs | {"csi": obs["csi"] * 37.5})
    assert once.abs().max() > 1e-3
    torch.testing.assert_close(louder, once * 37.5, rtol=1e-3, atol=1e-3)


def test_noise_power_is_not_used(small: Any, played: Any) -> None:
    name, options = small
    task, _, obs = played
    agent = learned(name, **options)
    assert equal_actions(agent.act(task, obs), agent.act(task, {"csi": obs["csi"]}))


def test_each_antenna_is_predicted_from_its_own_past_alone(small: Any, played: Any) -> None:
    name, options = small
    task, _, obs = played
    agent = learned(name, **options)
    one_alone = obs["csi"].clone()
    one_alone[:, :, 1:] = one_alone[:, :, 1:].flip(2).conj()  # of the same power
    before, after = agent.act(task, obs), agent.act(task, {"csi": one_alone})
    torch.testing.assert_close(after[:, :, 0], before[:, :, 0], rtol=1e-3, atol=1e-5)
    assert (after[:, :, 1:] - before[:, :, 1:]).abs().max() > 1e-3


def test_every_past_slot_and_subcarrier_matters(small: Any, played: Any) -> None:
    name, options = small
    task, _, obs = played
    csi = obs["csi"].clone().requires_grad_()
    future = learned(name, **options).forward(task, {"csi": csi})
    # Squares, not a plain sum: what a layer normalises sums to a constant.
    future.abs().square().sum().backward()
    assert csi.grad is not None
    assert csi.grad.abs().amax((0, 2)).min() > 0


def test_a_few_steps_lower_the_error_and_reach_every_parameter(small: Any, played: Any) -> None:
    name, options = small
    task, state, obs = played
    agent = learned(name, **options)
    losses = train(agent, task, state, obs, steps=15, learning_rate=1e-2)
    assert losses[-1] < losses[0] * 0.9
    assert parameters_without_gradient(agent, task) == []


def test_weights_depend_on_the_seed_and_on_nothing_else(small: Any, played: Any) -> None:
    name, options = small
    task, _, obs = played
    first = learned(name, **options).act(task, obs)
    torch.manual_seed(99)
    assert equal_actions(learned(name, **options).act(task, obs), first)
    assert not equal_actions(learned(name, seed=1, **options).act(task, obs), first)


def test_other_numbers_of_slots_work(small: Any) -> None:
    name, options = small
    task, _, obs = episodes(num_past=12, num_future=3)
    assert learned(name, **options).act(task, obs).shape == (3, 3, 16, 6)


@pytest.mark.parametrize("other", [{"num_past": 12}, {"num_future": 3}, {"panel": {"rows": 2}}])
def test_another_size_is_refused_unless_it_is_the_number_of_antennas(small: Any, played: Any, other: dict[str, Any]) -> None:
    name, options = small
    agent = learned(name, **options)
    agent.act(played[0], played[2])
    task, _, obs = episodes(**other)
    if "panel" in other:
        assert agent.act(task, obs).shape == (3, 4, 8, 6)
        return
    past, future = other.get("num_past", 16), other.get("num_future", 4)
    said = f"{name} was built for past 16, future 4, subcarriers 6, got past {past}, future {future}, subcarriers 6; make another"
    with pytest.raises(ValueError, match=said):
        agent.act(task, obs)


def test_checkpoint_gives_the_same_actions(small: Any, played: Any, tmp_path: Path) -> None:
    name, options = small
    task, state, obs = played
    agent = learned(name, **options)
    train(agent, task, state, obs, steps=2, learning_rate=1e-2)
    assert survives_a_round_trip(agent, task, obs, tmp_path, **options)


def test_contract_holds_on_other_sizes_than_the_papers(small: Any, played: Any) -> None:
    name, options = small
    assert [finding.sentence for finding in check_agent(learned(name, **options), played[0]) if not finding.ok] == []


def test_bfloat16_is_precise_enough_for_training(small: Any, played: Any) -> None:
    name, options = small
    assert bfloat16_changes_the_loss_by(learned(name, **options), *played) < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_training_configuration_fits(name: str) -> None:
    assert training_task(name).scenario.snr_db == (5, 20)


def test_an_episode_without_a_channel_gets_none(small: Any, played: Any) -> None:
    name, options = small
    task, _, obs = played
    silent = {"csi": torch.zeros_like(obs["csi"])}
    assert learned(name, **options).act(task, silent).abs().max() < 1e-15


def test_llm4cp_trains_normalisations_and_positions_of_the_language_model_only(gpt2: Path, played: Any) -> None:
    task, state, obs = played
    agent = learned("llm4cp", backbone=gpt2, **SMALL["llm4cp"])
    inside = {k: v.clone() for k, v in agent.weights(task).state_dict().items() if ".backbone." in k}
    train(agent, task, state, obs, steps=2, learning_rate=1e-2)
    moved = {k for k, v in agent.weights(task).state_dict().items() if k in inside and not torch.equal(v, inside[k])}
    assert moved == {k for k in inside if "ln_" in k or "wpe" in k}
    assert moved
    kept = [k for k in agent.saved_tensors() if ".backbone." in k]
    assert set(kept) == moved


def test_llm4cp_takes_the_first_layers_as_they_are_in_the_folder(gpt2: Path, played: Any) -> None:
    from safetensors.torch import load_file

    weights = learned("llm4cp", backbone=gpt2, **SMALL["llm4cp"]).weights(played[0]).state_dict()
    given = {name: tensor for name, tensor in load_file(gpt2 / "model.safetensors").items() if "wte" not in name}
    taken = {name: tensor for name, tensor in given.items() if not name.startswith("h.2.")}
    assert len(taken) < len(given)
    assert all(torch.equal(weights[f"network.backbone.{name}"], tensor) for name, tensor in taken.items())
    assert not any(".h.2." in name for name in weights)


def test_llm4cp_refuses_a_checkpoint_that_was_trained_around_another_language_model(
    gpt2: Path, played: Any, tmp_path: Path
) -> None:
    task, _, obs = played
    agent = learned("llm4cp", backbone=gpt2, **SMALL["llm4cp"])
    agent.act(task, obs)
    agent.save(tmp_path / "checkpoint")
    other = saved_gpt2(tmp_path / "other", seed=2)
    with pytest.raises(CheckpointError, match=r"belongs to the language model [0-9a-f]{12}, got [0-9a-f]{12}"):
        learned("llm4cp", backbone=other, checkpoint=tmp_path / "checkpoint", **SMALL["llm4cp"]).act(task, obs)


def test_llm4cp_has_the_same_random_language_model_whatever_the_seed(played: Any) -> None:
    options = SMALL["llm4cp"] | {"layers": 1, "backbone": "gpt2-random"}
    one, other = (learned("llm4cp", seed=seed, **options).weights(played[0]).state_dict() for seed in (0, 1))
    differ = {name for name in one if not torch.equal(one[name], other[name])}
    assert differ
    assert not any(".backbone." in name for name in differ)
    assert one["network.backbone.h.0.attn.c_attn.weight"].shape == (768, 3 * 768)


def test_llm4cp_keeps_all_of_a_known_model_but_its_normalisations_frozen(played: Any) -> None:
    agent = learned("llm4cp", **SMALL["llm4cp"] | {"layers": 1})
    inside = {k: p for k, p in agent.weights(played[0]).named_parameters() if ".backbone." in k}
    assert {k for k, p in inside.items() if p.requires_grad} == {k for k in inside if "norm" in k}
    assert inside["network.backbone.layers.0.self_attn.q_proj.weight"].shape == (576, 576)
    assert not any(".layers.1." in k for k in inside)


def test_llm4cp_says_which_backbones_it_takes(gpt2: Path, played: Any, tmp_path: Path) -> None:
    task, _, obs = played
    with pytest.raises(
        FileNotFoundError, match=r"expected 'smollm2-135m', 'gpt2-random' or a folder with a GPT-2, got .*no config.json"
    ):
        learned("llm4cp", backbone=tmp_path).act(task, obs)
    with pytest.raises(ValueError, match="expected at least 6 layers, got 3"):
        learned("llm4cp", backbone=gpt2).act(task, obs)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ValueError, match="expected a GPT-2, got a llama"):
        learned("llm4cp", backbone=tmp_path).act(task, obs)


@pytest.mark.parametrize(
    ("name", "option", "said"),
    [
        ("rnn", {"layers": 0}, "layers, hidden: expected at least 1"),
        ("gru", {"hidden": 0}, "layers, hidden: expected at least 1"),
        ("transformer", {"decoder_layers": 0}, "expected at least 1"),
        ("transformer", {"heads": 7}, "heads: expected a divisor of the width 128, got 7"),
        ("transformer", {"label_len": 17}, "label_len: expected at most the 16 past slots of the task, got 17"),
        ("llm4cp", {"blocks": 0}, "expected at least 1"),
        ("llm4cp", {"patch": 5}, "patch: expected a divisor of the 16 past slots of the task, got 5"),
    ],
)
def test_options_out_of_range_are_refused(name: str, option: dict[str, Any], said: str, played: Any) -> None:
    with pytest.raises(ValueError, match=said):
        make_agent(name, **option).act(played[0], played[2])
