"""Precoding by the head that starts classically: its start, the problem that it solves, and its symmetries."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from universal_agents import TINY_BACKBONE, episodes, stirred, universal
from wirelessgym.agents.robust_wmmse import denoised, error_as_noise
from wirelessgym.agents.universal.heads.classical_init.precoding import (
    ITERATIONS,
    TRAINING_ITERATIONS,
    bounded,
    error_aware_wmmse,
    wiener,
)

from wirelessgym import make_agent
from wirelessgym.arrays import to_beams
from wirelessgym.learned import LearnedAgent
from wirelessgym.metrics import user_rates

NOISY: dict[str, Any] = {"num_users": (2, 6), "csi_snr_db": (0, 20)}


@pytest.fixture(scope="module")
def speaking() -> LearnedAgent:
    """An agent with a language model, away from its start."""
    return stirred(universal(**TINY_BACKBONE), episodes("precoding", **NOISY)[0])


def close(first: Tensor, second: Tensor, tolerance: float = 1e-3) -> bool:
    return bool((first - second).abs().max() <= tolerance * second.abs().max())


def uncorrected(estimate: Tensor) -> Tensor:
    return torch.zeros(*estimate.shape[:2], 4)


def random_problem(seed: int = 0, batch: int = 5, users: int = 6, antennas: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Estimates, variances of each entry's error, noise and transmit powers."""
    generator = torch.Generator().manual_seed(seed)
    estimate = torch.randn(batch, users, antennas, dtype=torch.complex64, generator=generator)
    variance = torch.rand(batch, users, antennas, generator=generator) ** 4
    noise, power = torch.rand(batch, generator=generator) + 0.1, 1 + torch.rand(batch, generator=generator)
    return estimate, variance, noise, power


def rate_with_error_as_noise(estimate: Tensor, variance: Tensor, noise_power: Tensor, w: Tensor) -> Tensor:
    """Sum rate when the errors' power, spread by each precoder, counts as noise."""
    received = (estimate.conj() @ w.mT).abs().square()
    signal = received.diagonal(dim1=-2, dim2=-1)
    spread = (variance[:, :, None] * w.abs().square()[:, None]).sum((-2, -1))
    return torch.log2(1 + signal / (received.sum(-1) - signal + spread + noise_power[:, None])).sum(-1)


@pytest.mark.parametrize("scenario", ["uma-nlos-16", "uma-hard-16"])
@pytest.mark.parametrize("action", ["precoder", "structure"])
@pytest.mark.parametrize("training", [False, True])
def test_fresh_weights_are_robust_wmmse_with_fewer_iterations_in_training(scenario: str, action: str, training: bool) -> None:
    task, _, obs = episodes("precoding", 16, **NOISY | {"scenario": scenario, "action": action})
    agent = universal()
    agent.weights(task).train(training)
    with torch.no_grad():
        ours = agent.forward(task, obs)
    iterations = TRAINING_ITERATIONS if training else ITERATIONS
    assert TRAINING_ITERATIONS < ITERATIONS
    assert close(ours, make_agent("robust_wmmse", iterations=iterations).act(task, obs), 2e-3)


def test_with_equal_error_variances_its_iteration_is_wmmse_on_the_denoised_estimate_with_more_noise() -> None:
    task, state, obs = episodes("precoding", 16, **NOISY)
    estimate, residual = denoised(obs["csi"], obs["csi_noise_power"], task.scenario.panel)
    beams = to_beams(obs["csi"], task.scenario.panel.rows, task.scenario.panel.columns)
    sparse = wiener(beams, obs["csi_noise_power"], obs["mask"])[2]
    variance = error_as_noise(residual, sparse, 2.0)[:, None, None]
    w, _, _ = error_aware_wmmse(estimate, variance, obs["noise_power"], obs["tx_power"], uncorrected(estimate), iterations=100)
    ours, theirs = (task.score(state, x)["sum_rate"] for x in (w, make_agent("robust_wmmse").act(task, obs)))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_the_estimate_that_it_starts_from_is_that_of_robust_wmmse() -> None:
    task, _, obs = episodes("precoding", 16, **NOISY)
    panel = task.scenario.panel
    beams = to_beams(obs["csi"], panel.rows, panel.columns)
    gains, residual, _ = wiener(beams, obs["csi_noise_power"], obs["mask"])
    estimate, left = denoised(obs["csi"], obs["csi_noise_power"], panel)
    torch.testing.assert_close(gains * beams, to_beams(estimate, panel.rows, panel.columns))
    torch.testing.assert_close(residual, left)


def test_without_errors_it_reaches_wmmse() -> None:
    task, state, obs = episodes("precoding", 16, scenario="uma-hard-16", csi_snr_db=None)
    nothing = torch.zeros(1, 1, 1)
    w, _, _ = error_aware_wmmse(obs["csi"], nothing, obs["noise_power"], obs["tx_power"], uncorrected(obs["csi"]), iterations=100)
    ours, theirs = (task.score(state, x)["sum_rate"] for x in (w, make_agent("wmmse", iterations=100).act(task, obs)))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("known", [True, False])
def test_its_iteration_never_lowers_the_rate_that_it_maximises(known: bool) -> None:
    estimate, variance, noise, power = random_problem(users=7)
    variance = variance * (not known)
    rates = []
    for iterations in range(1, 30):
        w, _, _ = error_aware_wmmse(estimate, variance, noise, power, uncorrected(estimate), iterations)
        rates.append(rate_with_error_as_noise(estimate, variance, noise, w))
    gained = torch.stack(rates).diff(dim=0)
    assert gained.min() > -1e-4
    assert (gained.sum(0) > 0.05).all()


def test_precoders_solve_the_dense_system_with_every_error_covariance() -> None:
    estimate, variance, noise, power = random_problem()
    w, _, weights = error_aware_wmmse(estimate, variance, noise, power, uncorrected(estimate))
    shares = (weights / power[:, None]).double()  # of any scale: the loading scales along
    outer = estimate[..., None] * estimate[..., None, :].conj() + torch.diag_embed(variance)
    matrix = (shares[..., None, None] * outer).sum(1) + (noise / power)[:, None, None] * torch.eye(estimate.shape[-1])
    direction = torch.linalg.solve(matrix, estimate.to(matrix.dtype).mT).mT
    aligned = (direction.conj() * w).sum(-1).abs() / direction.norm(dim=-1) / w.norm(dim=-1)
    torch.testing.assert_close(aligned, torch.ones_like(aligned), rtol=1e-5, atol=1e-5)


def test_knowing_which_entries_err_is_worth_rate() -> None:
    estimate, variance, noise, power = random_problem(users=4)
    average = variance.mean((1, 2), keepdim=True)
    knowing, averaging = (error_aware_wmmse(estimate, x, noise, power, uncorrected(estimate), 60)[0] for x in (variance, average))
    rates = [rate_with_error_as_noise(estimate, variance, noise, w).mean() for w in (knowing, averaging)]
    assert rates[0] > rates[1] + 0.1


@pytest.mark.parametrize("seed", [3, 4])
def test_with_a_known_channel_no_row_is_worse_than_wmmse_whatever_the_weights(seed: int) -> None:
    task, _, obs = episodes("precoding", 32, scenario="uma-hard-16", csi_snr_db=None)
    agent = stirred(universal(), task, seed=seed)
    ours, theirs = (
        user_rates(obs["csi"], player.act(task, obs), obs["noise_power"]).sum(-1)
        for player in (agent, make_agent("wmmse", iterations=100))
    )
    assert (ours >= theirs - 1e-5 * theirs).all()
    agent.weights(task).train()
    own = user_rates(obs["csi"], agent.forward(task, obs), obs["noise_power"]).sum(-1)
    assert (own < theirs).any()  # so a choice was made
    assert (ours >= own - 1e-5 * own).all()


def test_permuting_users_permutes_their_precoders(speaking: LearnedAgent) -> None:
    task, _, obs = episodes("precoding", **NOISY)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    permuted = obs | {key: obs[key][:, order] for key in ("csi", "mask")}
    assert close(speaking.act(task, permuted), speaking.act(task, obs)[:, order])


def test_turning_a_users_channel_turns_its_precoder_along_and_no_other(speaking: LearnedAgent) -> None:
    task, _, obs = episodes("precoding", **NOISY)
    phase = torch.polar(torch.ones(6), torch.tensor([0.3, -2.0, 1.1, 3.0, 0.0, 0.7]))[:, None]
    assert close(speaking.act(task, obs | {"csi": obs["csi"] * phase}), speaking.act(task, obs) * phase)


def test_the_units_of_channel_and_power_do_not_matter(speaking: LearnedAgent) -> None:
    task, _, obs = episodes("precoding", **NOISY)
    before = speaking.act(task, obs)
    louder = obs | {
        "csi": 3 * obs["csi"],
        "csi_noise_power": 9 * obs["csi_noise_power"],
        "noise_power": 9 * obs["noise_power"],
    }
    assert close(speaking.act(task, louder), before)
    stronger = obs | {"noise_power": 4 * obs["noise_power"], "tx_power": 4 * obs["tx_power"]}
    assert close(speaking.act(task, stronger), 2 * before)


def test_all_power_is_spent_and_none_on_users_that_take_no_part(speaking: LearnedAgent) -> None:
    task, _, obs = episodes("precoding", 16, **NOISY)
    power = speaking.act(task, obs).abs().square().sum(-1)
    torch.testing.assert_close(power.sum(-1), obs["tx_power"])
    assert not obs["mask"].all()
    assert (power[~obs["mask"]] == 0).all()


def test_users_that_take_no_part_change_nothing_for_the_others(speaking: LearnedAgent) -> None:
    task, _, obs = episodes("precoding", num_users=4, csi_snr_db=(0, 20))
    more = torch.cat([obs["csi"], torch.zeros(len(obs["csi"]), 3, obs["csi"].shape[-1])], 1)
    assert close(speaking.act(task, obs | {"csi": more})[:, :4], speaking.act(task, obs))


@pytest.mark.parametrize(
    "setting",
    [
        {"num_users": 1},
        {"num_users": 12, "snr_db": -5},
        {"scenario": "uma-nlos-32", "num_users": 3, "snr_db": 30},
        {"panel": (2, 8), "csi_snr_db": None},
        {"dual": True},
    ],
    ids=str,
)
def test_users_antennas_and_noise_may_be_any_with_the_same_weights(setting: dict[str, Any]) -> None:
    agent = stirred(universal(), episodes("precoding", **NOISY)[0])
    count = agent.num_parameters
    changes = dict(setting)
    panel = changes.pop("panel", None)
    if panel is not None:
        changes |= {"panel.rows": panel[0], "panel.columns": panel[1]}
    if changes.pop("dual", False):
        changes |= {"panel.polarisation": "dual", "panel.rows": 2}
    task, state, obs = episodes("precoding", **NOISY | changes)
    action = agent.act(task, obs)
    task.check_action(action, len(action))
    torch.testing.assert_close(action.abs().square().sum((-2, -1)), obs["tx_power"])
    floor = task.score(state, make_agent("random").act(task, obs))["sum_rate"].mean()
    assert task.score(state, action)["sum_rate"].mean() > floor or task.scenario.max_users == 1
    assert agent.num_parameters == count


def test_what_is_learned_of_logarithms_is_itself_near_zero_and_never_large() -> None:
    small, large = torch.linspace(-0.1, 0.1, 9), torch.tensor([-1e6, 1e6])
    torch.testing.assert_close(bounded(small), small, rtol=1e-3, atol=0)
    assert bounded(large).tolist() == [-3, 3]


def test_training_follows_the_rate_through_the_true_channel() -> None:
    task, state, obs = episodes("precoding", **NOISY)
    agent = universal()
    rate = task.score(state, agent.forward(task, obs))["sum_rate"].mean()
    torch.testing.assert_close(agent.loss(task, state, obs), -rate)
