"""Learned priors with covariance-aware WMMSE behind them: their start, symmetries, closed forms, and that they learn."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

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
from torch import Tensor
from universal_agents import stirred
from wirelessgym.agents._learned_posterior import PosteriorPrecoder

from wirelessgym import make_agent, make_task
from wirelessgym.arrays import to_beams
from wirelessgym.check import check_agent
from wirelessgym.task import Task

NAMES = ("denoiser_wmmse", "vae_wmmse")
SMALL: dict[str, dict[str, Any]] = {
    "denoiser_wmmse": {"width": 32, "blocks": 2},
    "vae_wmmse": {"width": 32, "blocks": 2, "latent": 6, "samples": 5},
}
Batch = tuple[Task, Any, dict[str, Tensor]]


def episodes(count: int = 6, scenario: str = "uma-nlos-16", **overrides: Any) -> Batch:
    options = {"num_users": (2, 6), "csi_snr_db": (0, 20), "horizon": 1} | overrides
    task = make_task("precoding", scenario=scenario, **options)
    return task, *task.reset(range(count), seed=4242)


def small(name: str, **options: Any) -> PosteriorPrecoder:
    return cast(PosteriorPrecoder, learned(name, **SMALL[name] | options))


def moved(name: str, task: Task, **options: Any) -> PosteriorPrecoder:
    """Small, and away from the estimate that fresh weights give."""
    agent = small(name, **options)
    stirred(agent, task, strength=0.05)
    return agent


@pytest.fixture(scope="module")
def hard() -> Batch:
    """Noisy channels of two to six users."""
    return episodes()


def estimates(agent: PosteriorPrecoder, task: Task, obs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return agent.posterior(task.spec, obs)


def test_a_fresh_denoiser_scales_each_beam_by_its_own_wiener_gain(hard: Batch) -> None:
    task, _, obs = hard
    mean, covariance = estimates(small("denoiser_wmmse"), task, obs)
    beams, error = to_beams(obs["csi"], 4, 4), obs["csi_noise_power"][:, None, None]
    gain = (1 - error / beams.abs().square()).clamp(0.02, 0.98) * obs["mask"][..., None]
    torch.testing.assert_close(mean, gain * beams, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(covariance, torch.diag_embed(gain * error).to(mean.dtype), rtol=1e-4, atol=1e-5)


def test_a_fresh_autoencoder_is_the_linear_estimate_of_white_channels(hard: Batch) -> None:
    task, _, obs = hard
    mean, covariance = estimates(small("vae_wmmse"), task, obs)
    error = obs["csi_noise_power"][:, None, None]
    torch.testing.assert_close(mean, to_beams(obs["csi"], 4, 4) / (1 + error), rtol=1e-4, atol=1e-5)
    left = (error / (1 + error) * obs["mask"][..., None]).expand(mean.shape)
    torch.testing.assert_close(covariance, torch.diag_embed(left).to(mean.dtype), rtol=1e-4, atol=1e-5)


def test_an_autoencoder_whose_decoder_ignores_the_latent_vector_is_lmmse_with_the_decoders_moments(hard: Batch) -> None:
    task, _, obs = hard
    agent = small("vae_wmmse")
    bias = torch.linspace(-1, 1, 48)
    cast(Any, agent.weights(task.spec)).decoder.output.bias.data.copy_(bias)
    prior, variance = torch.complex(bias[:16], bias[16:32]), (9 * torch.tanh(bias[32:] / 9)).exp()
    y, error = to_beams(obs["csi"], 4, 4), obs["csi_noise_power"][:, None, None]
    phase = torch.polar(torch.ones(()), y.gather(-1, y.abs().argmax(-1, keepdim=True)).angle())
    present = obs["mask"][..., None]
    mean, covariance = estimates(agent, task, obs)
    expected = phase * prior + variance / (variance + error) * (y - phase * prior)
    torch.testing.assert_close(mean, expected * present, rtol=1e-4, atol=1e-5)
    left = variance * error / (variance + error) * present
    torch.testing.assert_close(covariance, torch.diag_embed(left).to(mean.dtype), rtol=1e-4, atol=1e-5)


def test_an_autoencoders_covariance_counts_what_the_latent_vector_leaves_open() -> None:
    task, _, obs = episodes(count=3, num_users=4, csi_snr_db=0)
    agent = small("vae_wmmse", samples=4)
    means = torch.complex(torch.arange(4.0), -torch.arange(4.0))[:, None] * torch.linspace(0, 1, 16)

    def decode(latent: Tensor) -> tuple[Tensor, Tensor]:
        return means.expand(*latent.shape[:-1], 16), torch.full((*latent.shape[:-1], 16), 3.0)

    cast(Any, agent.weights(task.spec)).decode = decode
    y, error = to_beams(obs["csi"], 4, 4), 1.0  # gain 3 / (3 + 1)
    phase = torch.polar(torch.ones(()), y.gather(-1, y.abs().argmax(-1, keepdim=True)).angle())
    mean, covariance = estimates(agent, task, obs)
    torch.testing.assert_close(mean, 0.75 * y + 0.25 * phase * means.mean(0), rtol=1e-4, atol=1e-4)
    apart = 0.25 * (means - means.mean(0))
    expected = 0.75 * error * torch.eye(16) + torch.einsum("si,sj->ij", apart, apart.conj()) / 4
    torch.testing.assert_close(covariance, expected.expand(covariance.shape), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_users_keep_their_precoders_in_another_order(name: str, hard: Batch) -> None:
    task, _, obs = hard
    agent = moved(name, task)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = obs | {"csi": obs["csi"][:, order], "mask": obs["mask"][:, order]}
    torch.testing.assert_close(agent.act(task, shuffled), agent.act(task, obs)[:, order], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_users_phase_turns_its_own_precoder_and_no_other(name: str, hard: Batch) -> None:
    task, _, obs = hard
    agent = moved(name, task)
    phase = torch.polar(torch.ones(6), torch.linspace(0, 5, 6))[:, None]
    turned = agent.act(task, obs | {"csi": obs["csi"] * phase})
    torch.testing.assert_close(turned, agent.act(task, obs) * phase, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_all_power_is_spent_and_none_of_it_on_users_that_take_no_part(name: str, hard: Batch) -> None:
    task, _, obs = hard
    agent = moved(name, task)
    power = agent.act(task, obs).abs().square().sum(-1)
    torch.testing.assert_close(power.sum(-1), obs["tx_power"])
    assert not obs["mask"].all()
    assert (power[~obs["mask"]] == 0).all()
    mean, covariance = estimates(agent, task, obs)
    assert (mean[~obs["mask"]] == 0).all()
    assert (covariance[~obs["mask"]] == 0).all()
    one = {key: value[:1] for key, value in obs.items()} | {"csi": torch.zeros_like(obs["csi"][:1])}
    assert (agent.act(task, one) == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_covariances_are_positive_and_their_beams_correlated(name: str) -> None:
    task, _, obs = episodes(csi_snr_db=0)
    covariance = estimates(moved(name, task), task, obs)[1][obs["mask"]]
    torch.testing.assert_close(covariance, covariance.mH)
    assert (torch.linalg.eigvalsh(covariance) > 0).all()
    assert (covariance - torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1))).abs().amax((1, 2)).min() > 1e-6


def test_a_denoisers_covariance_stays_within_bounds_whatever_the_network_says(hard: Batch) -> None:
    task, _, obs = hard
    agent = small("denoiser_wmmse")
    stirred(agent, task, strength=3.0)
    mean, covariance = estimates(agent, task, obs)
    largest = torch.linalg.eigvalsh(covariance)[..., -1]
    assert (largest <= 101 * math.exp(8) * obs["csi_noise_power"][:, None]).all()
    assert torch.isfinite(mean).all()


def test_without_correlations_a_denoisers_covariance_is_diagonal(hard: Batch) -> None:
    task, _, obs = hard
    covariance = estimates(moved("denoiser_wmmse", task, correlated=False), task, obs)[1]
    assert torch.equal(covariance, torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1)))


def test_the_denoisers_second_loss_is_the_gaussian_density_of_what_its_mean_misses(
    hard: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wirelessgym.agents.denoiser_wmmse.LEAST_PRECISION", 0.0)
    task, state, obs = hard
    agent = moved("denoiser_wmmse", task)
    mean, covariance = estimates(agent, task, obs)
    missed = (to_beams(state.h, 4, 4) - mean)[obs["mask"]]
    error = obs["csi_noise_power"][:, None].expand(6, 6)[obs["mask"]]
    zero = torch.zeros(16)
    real = torch.view_as_real(missed).flatten(1)  # of a circular Gaussian: (re, im) of each entry
    c = covariance[obs["mask"]]
    joint = torch.stack([torch.stack([c.real, -c.imag], -1), torch.stack([c.imag, c.real], -1)], -2).transpose(2, 3) / 2
    density = torch.distributions.MultivariateNormal(zero.repeat(2), joint.flatten(3).flatten(1, 2).contiguous())
    surprise = -density.log_prob(real) / 16 - math.log(math.pi) - error.log()
    squared = missed.abs().square().mean(-1) * (1 + error) / error
    loss = agent.loss(task, state, obs)
    torch.testing.assert_close(loss.detach(), (squared + 0.5 * surprise).mean(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str, hard: Batch) -> None:
    task, state, obs = hard
    agent = small(name)
    train(agent, task, state, obs, steps=2, learning_rate=1e-3)  # last layers start at zero, and hold the others back
    assert parameters_without_gradient(agent, task) == []


@pytest.mark.parametrize("name", NAMES)
def test_rate_and_error_improve_on_episodes_that_it_has_not_seen(name: str) -> None:
    noisy = {"num_users": 6, "csi_snr_db": 0}
    task, state, obs = episodes(count=256, **noisy)
    agent = small(name, width=64)
    held_out = task.reset(range(1000, 1064), seed=4242)
    h = to_beams(held_out[0].h, 4, 4)

    def worth() -> tuple[float, float]:
        rate = task.score(held_out[0], agent.act(task, held_out[1]))["sum_rate"].mean().item()
        return rate, (estimates(agent, task, held_out[1])[0] - h).abs().square().mean().item()

    before = worth()
    train(agent, task, state, obs, steps=80, learning_rate=3e-3)
    after = worth()
    assert after[0] > before[0] + 0.3
    assert after[1] < 0.9 * before[1]


@pytest.mark.parametrize("name", NAMES)
def test_channels_that_are_known_perfectly_need_no_prior(name: str) -> None:
    task, state, obs = episodes(csi_snr_db=None)
    agent = moved(name, task)
    torch.testing.assert_close(agent.act(task, obs), make_agent("robust_wmmse").act(task.spec, obs))
    with pytest.raises(ValueError, match=f"{name}: trains on noisy channels, got a task that knows them perfectly"):
        agent.loss(task, state, obs)


@pytest.mark.parametrize("name", NAMES)
def test_several_subcarriers_are_channels_of_their_own(name: str) -> None:
    task, state, obs = episodes(subcarriers=3)
    agent = moved(name, task)
    narrow = make_task("precoding", scenario="uma-nlos-16", num_users=(2, 6), csi_snr_db=(0, 20), horizon=1)
    alone = obs | {"csi": obs["csi"][:, 1], "tx_power": obs["tx_power"] / 3}
    torch.testing.assert_close(agent.act(task, obs)[:, 1], agent.act(narrow, alone), rtol=1e-3, atol=1e-4)
    if name == "denoiser_wmmse":  # no chance in its loss
        rows = [
            agent.loss(narrow, type(state)(**vars(state) | {"h": state.h[:, s]}), obs | {"csi": obs["csi"][:, s]})
            for s in range(3)
        ]
        torch.testing.assert_close(agent.loss(task, state, obs), torch.stack(rows).mean())


@pytest.mark.parametrize("name", NAMES)
def test_another_array_is_refused_and_another_number_of_users_is_not(name: str, hard: Batch) -> None:
    agent = small(name)
    agent.act(hard[0], hard[2])
    task, _, obs = episodes(num_users=9)
    assert agent.act(task, obs).shape == (6, 9, 16)
    task, state, obs = episodes(panel={"rows": 2, "columns": 8})
    message = (
        f"{name} was built for rows 4, columns 4, polarisation single, got rows 2, columns 8, polarisation single; make another"
    )
    with pytest.raises(ValueError, match=message):
        agent.act(task, obs)
    with pytest.raises(ValueError, match=message):
        agent.loss(task, state, obs)


@pytest.mark.parametrize("name", NAMES)
def test_checkpoint_gives_the_same_actions(name: str, hard: Batch, tmp_path: Path) -> None:
    task, state, obs = hard
    agent = small(name)
    train(agent, task, state, obs, steps=2, learning_rate=1e-2)
    assert survives_a_round_trip(agent, task, obs, tmp_path, **SMALL[name])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("overrides", [{}, {"panel": {"rows": 2, "columns": 4, "polarisation": "dual"}}, {"action": "structure"}])
def test_contract_holds(name: str, overrides: dict[str, Any]) -> None:
    task, _, _ = episodes(**overrides)
    assert [finding.sentence for finding in check_agent(small(name), task) if not finding.ok] == []


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_precise_enough_for_training(name: str, hard: Batch) -> None:
    assert bfloat16_changes_the_loss_by(moved(name, hard[0]), *hard) < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_training_configuration_fits(name: str) -> None:
    task = training_task(name)
    assert task.scenario.csi_snr_db == (-1, 21)
    assert task.scenario.max_users * 64 == 512


@pytest.mark.parametrize(
    ("name", "option"),
    [(name, o) for name in NAMES for o in ("width", "blocks", "iterations")]
    + [("vae_wmmse", "latent"), ("vae_wmmse", "samples")],
)
def test_options_out_of_range_are_refused(name: str, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option}: expected an integer >= 1, got 0"):
        make_agent(name, **{option: 0})
