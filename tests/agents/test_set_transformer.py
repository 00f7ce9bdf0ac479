"""The set transformer: the universal agent's heads without a language model, the same symmetries and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from learned_agents import equal_actions, learned, parameters_without_gradient, survives_a_round_trip, train
from universal_agents import TASKS, episodes, stirred, universal

from wirelessgym.check import check_agent
from wirelessgym.checkpoint import CheckpointError
from wirelessgym.learned import LearnedAgent

SMALL: dict[str, Any] = {"width": 24, "layers": 2, "heads": 3}
HARD: dict[str, dict[str, Any]] = {
    "precoding": {"num_users": (2, 6), "csi_snr_db": (0, 20)},
    "detection": {"num_users": (3, 8), "snr_db": (0, 20)},
    "channel_prediction": {},
}


@pytest.fixture(scope="module")
def speaking() -> LearnedAgent:
    """An agent away from its start in every task."""
    return stirred(learned("set_transformer", **SMALL), *(episodes(name, **HARD[name])[0] for name in TASKS), strength=0.2)


@pytest.mark.parametrize("name", TASKS)
def test_it_starts_where_the_universal_agent_starts(name: str, speaking: LearnedAgent) -> None:
    task, _, obs = episodes(name, **HARD[name])
    assert equal_actions(learned("set_transformer").act(task, obs), universal().act(task, obs))
    assert not equal_actions(speaking.act(task, obs), universal().act(task, obs))


@pytest.mark.parametrize("name", TASKS)
def test_contract_holds_away_from_the_start(name: str, speaking: LearnedAgent) -> None:
    task, _, _ = episodes(name, **HARD[name])
    assert [finding.sentence for finding in check_agent(speaking, task) if not finding.ok] == []


def test_permuting_users_permutes_precoders_and_symbols(speaking: LearnedAgent) -> None:
    task, _, obs = episodes("precoding", **HARD["precoding"])
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    permuted = obs | {key: obs[key][:, order] for key in ("csi", "mask")}
    torch.testing.assert_close(speaking.act(task, permuted), speaking.act(task, obs)[:, order], rtol=0, atol=2e-3)
    task, _, obs = episodes("detection", **HARD["detection"])
    order = torch.tensor([3, 0, 7, 5, 1, 6, 4, 2])
    permuted = obs | {"csi": obs["csi"][..., order], "mask": obs["mask"][:, order]}
    torch.testing.assert_close(speaking.act(task, permuted), speaking.act(task, obs)[..., order], rtol=0, atol=5e-3)


def test_absent_tokens_change_nothing_for_the_others(speaking: LearnedAgent) -> None:
    backbone = speaking.weights(episodes("precoding", **HARD["precoding"])[0]).backbone.eval()
    tokens = torch.randn(3, 5, SMALL["width"], generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True] * 3 + [False] * 2] * 3)
    other = torch.cat([tokens[:, :3], 9 * tokens[:, 3:]], 1)
    with torch.no_grad():
        seen, changed, alone = (
            backbone("", tokens, False, mask),
            backbone("", other, False, mask),
            backbone("", tokens[:, :3], False, None),
        )
    torch.testing.assert_close(seen[:, :3], changed[:, :3])
    torch.testing.assert_close(seen[:, :3], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_a_step_of_training_later_gradients_reach_every_weight(name: str) -> None:
    task, state, obs = episodes(name, **HARD[name])
    agent = learned("set_transformer", **SMALL)
    train(agent, task, state, obs, steps=2, learning_rate=1e-3)
    assert not parameters_without_gradient(agent, task)


@pytest.mark.parametrize("name", TASKS)
def test_checkpoint_gives_the_same_actions(name: str, tmp_path: Path) -> None:
    task, state, obs = episodes(name, **HARD[name])
    agent = learned("set_transformer", **SMALL)
    train(agent, task, state, obs, steps=2, learning_rate=1e-3)
    assert survives_a_round_trip(agent, task, obs, tmp_path, **SMALL)


def test_sizes_come_from_the_checkpoint_and_others_are_refused(speaking: LearnedAgent, tmp_path: Path) -> None:
    task, _, obs = episodes("precoding", **HARD["precoding"])
    folder = speaking.save(tmp_path)
    again = learned("set_transformer", checkpoint=folder)
    assert equal_actions(again.act(task, obs), speaking.act(task, obs))
    with pytest.raises(CheckpointError, match=r"the checkpoint's weights don't fit: .*expected .*, got .*, and"):
        learned("set_transformer", checkpoint=folder, width=48).act(task, obs)


@pytest.mark.parametrize("sizes", [{"width": 0}, {"width": -6}, {"layers": 0}, {"heads": 0}, {"heads": -3}, {"width": 25}])
def test_sizes_that_make_no_transformer_are_refused_at_once(sizes: dict[str, int]) -> None:
    got = ", ".join(f"{name} {size}" for name, size in (SMALL | sizes).items())
    with pytest.raises(ValueError, match=f"at least 1, and a width divisible by heads, got {got}$"):
        learned("set_transformer", **SMALL | sizes)


def test_its_backbone_is_about_as_large_as_what_the_language_model_trains() -> None:
    agent = learned("set_transformer")
    agent.weights(episodes("precoding", **HARD["precoding"])[0])
    assert 0.5e6 < agent.num_parameters < 4e6
