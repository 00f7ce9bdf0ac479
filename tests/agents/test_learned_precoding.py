"""The convolutional precoder against WMMSE, the power budget and its own checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from learned_agents import (
    bfloat16_changes_the_loss_by,
    learned,
    parameters_without_gradient,
    survives_a_round_trip,
    train,
    training_task,
)

from wirelessgym import make_agent, make_task
from wirelessgym.check import check_agent
from wirelessgym.task import Task

BATCH = 6


def episodes(**overrides: Any) -> tuple[Task, Any, dict[str, torch.Tensor]]:
    task = make_task("precoding", scenario="uma-nlos-16", horizon=1, **overrides)
    return task, *task.reset(range(BATCH), seed=5)


@pytest.fixture(scope="module")
def hard() -> tuple[Task, Any, dict[str, torch.Tensor]]:
    """Noisy channels of two to six users."""
    return episodes(num_users=[2, 6], csi_snr_db=[0, 20])


def test_all_power_is_spent_and_none_of_it_on_users_that_take_no_part(hard: Any) -> None:
    task, _, obs = hard
    precoder = learned("cnn_precoder").act(task, obs)
    power = precoder.abs().square().sum(-1)
    torch.testing.assert_close(power.sum(-1), obs["tx_power"])
    assert not obs["mask"].all()
    assert (power[~obs["mask"]] == 0).all()
    assert (power[obs["mask"]] > 0).all()


def test_structure_is_answered_in_shares_where_the_task_wants_it() -> None:
    task, state, obs = episodes(num_users=[2, 6], action="structure")
    agent = learned("cnn_precoder")
    structure = agent.act(task, obs)
    torch.testing.assert_close(structure.sum(1), torch.ones(BATCH, 2))
    precoding = make_task("precoding", scenario="uma-nlos-16", horizon=1, num_users=[2, 6])
    rates = [t.score(state, agent.act(t, obs))["sum_rate"] for t in (task, precoding)]
    torch.testing.assert_close(rates[0], rates[1])


def test_precoder_depends_on_the_channel_over_the_noise_only(hard: Any) -> None:
    task, _, obs = hard
    agent = learned("cnn_precoder")
    louder = obs | {"csi": obs["csi"] * 3, "noise_power": obs["noise_power"] * 9}
    torch.testing.assert_close(agent.act(task, louder), agent.act(task, obs), rtol=1e-3, atol=1e-4)


def test_first_phase_comes_closer_to_wmmse(hard: Any) -> None:
    task, _, obs = hard
    power, regularisation = make_agent("wmmse").structure(obs)
    labels = torch.stack([power, regularisation], -1) / obs["tx_power"][:, None, None]
    agent = learned("cnn_precoder")
    before = (agent.structure(task, obs) - labels).square().sum((1, 2)).mean()
    losses = train(agent, task, None, obs, steps=20, learning_rate=1e-3, progress=0.49)
    assert losses[0] == pytest.approx(before.item(), rel=1e-5)
    assert losses[-1] < losses[0] / 2


def test_second_phase_raises_the_rate_through_the_true_channel(hard: Any) -> None:
    task, state, obs = hard
    agent = learned("cnn_precoder")
    before = task.score(state, agent.forward(task, obs))["sum_rate"].mean()
    losses = train(agent, task, state, obs, steps=20, learning_rate=1e-3, progress=0.5)
    assert losses[0] == pytest.approx(-before.item(), rel=1e-5)
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_gradients_reach_every_parameter(hard: Any, progress: float) -> None:
    task, state, obs = hard
    agent = learned("cnn_precoder")
    train(agent, task, state, obs, steps=0, learning_rate=1e-3, progress=progress)
    assert parameters_without_gradient(agent, task) == []


def test_another_size_is_refused(hard: Any) -> None:
    agent = learned("cnn_precoder")
    agent.act(hard[0], hard[2])
    task, _, obs = episodes(num_users=3)
    with pytest.raises(
        ValueError, match="cnn_precoder was built for users 6, antennas 16, got users 3, antennas 16; make another"
    ):
        agent.act(task, obs)


def test_checkpoint_gives_the_same_actions(hard: Any, tmp_path: Path) -> None:
    task, state, obs = hard
    agent = learned("cnn_precoder")
    train(agent, task, state, obs, steps=2, learning_rate=1e-3)  # moves the running means of the normalisation, too
    assert survives_a_round_trip(agent, task, obs, tmp_path)


def test_contract_holds_with_noisy_channels_and_a_varying_number_of_users(hard: Any) -> None:
    assert [finding.sentence for finding in check_agent(learned("cnn_precoder"), hard[0]) if not finding.ok] == []


def test_bfloat16_is_precise_enough_for_training(hard: Any) -> None:
    assert bfloat16_changes_the_loss_by(learned("cnn_precoder"), *hard) < 0.02


def test_training_configuration_fits() -> None:
    assert training_task("cnn_precoder").scenario.csi_snr_db == (0, 20)


@pytest.mark.parametrize("option", [{"channels": 0}, {"layers": 0}, {"supervised_share": 1.5}, {"label_iterations": 0}])
def test_options_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option)).removeprefix('label_')}.*expected"):
        make_agent("cnn_precoder", **option)
