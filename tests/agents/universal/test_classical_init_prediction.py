"""Channel prediction by the head that starts classically: real form, spectra and filters against textbook ones, symmetries."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from universal_agents import TINY_BACKBONE, episodes, stirred, tone, universal
from wirelessgym.agents._doppler import (
    FREQUENCIES,
    covariance,
    predict,
    predict_alike,
    real_form,
    spectra,
    waves,
)
from wirelessgym.agents._strong_bins import HIGHEST_DOPPLER, highest_doppler

from wirelessgym import make_agent
from wirelessgym.learned import LearnedAgent

PAST, FUTURE, HIGHEST = 16, 4, 0.13
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def speaking() -> LearnedAgent:
    """An agent with a language model, away from its start."""
    return stirred(universal(**TINY_BACKBONE), episodes("channel_prediction")[0])


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def random_spectrum(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, FREQUENCIES, generator=torch.Generator().manual_seed(seed)) ** 4


def textbook_wiener(series: Tensor, spectrum: Tensor, noise_power: Tensor, num_past: int, num_future: int) -> Tensor:
    """``C_fp (C_pp + noise I)^-1 x`` with the complex covariances of waves at the spectrum's frequencies, in double precision."""
    frequency = torch.linspace(-HIGHEST, HIGHEST, FREQUENCIES, dtype=torch.float64)
    angle = 2 * math.pi * torch.arange(num_past + num_future, dtype=torch.float64)[:, None] * frequency
    wave = torch.polar(torch.ones_like(angle), angle)
    covariance = (wave * spectrum.double()[..., None, :]) @ wave.mH
    past = covariance[..., :num_past, :num_past] + noise_power.double()[..., None, None] * torch.eye(num_past)
    whitened = torch.linalg.solve(past, series.to(torch.complex128)[..., None])
    return (covariance[..., num_past:, :num_past] @ whitened)[..., 0].to(torch.complex64)


@pytest.mark.parametrize("num_past", [1, 2, 7, 16])
def test_the_real_form_is_unitary(num_past: int) -> None:
    transform = real_form(torch.eye(num_past, dtype=torch.complex64))
    torch.testing.assert_close(transform @ transform.mH, torch.eye(num_past, dtype=torch.complex64))


@pytest.mark.parametrize("num_past", [1, 2, 7, 16])
def test_waves_about_the_centre_are_real_in_the_real_form(num_past: int) -> None:
    time = torch.arange(num_past) - (num_past - 1) / 2
    angle = 2 * math.pi * torch.linspace(-0.5, 0.5, 31)[:, None] * time
    assert real_form(torch.polar(torch.ones_like(angle), angle)).imag.abs().max() < 1e-5


@pytest.mark.parametrize("num_past", [5, 16])
def test_its_filter_is_the_textbook_one(num_past: int) -> None:
    series, spectrum = gaussian(3, 6, num_past), random_spectrum(3, 6)
    noise = torch.tensor([[0.05], [0.5], [5.0]]).expand(3, 6)
    expected = textbook_wiener(series, spectrum, noise, num_past, FUTURE)
    torch.testing.assert_close(predict(series, spectrum, noise, FUTURE, HIGHEST), expected, rtol=1e-3, atol=1e-3)


def test_series_that_share_a_spectrum_are_predicted_as_if_alone() -> None:
    series, spectrum = gaussian(2, 7, PAST), random_spectrum(2)
    spectrum = spectrum / spectrum.sum(-1, keepdim=True)
    noise, power = torch.tensor([0.1, 1.0]), torch.rand(2, 7, generator=torch.Generator().manual_seed(3)) * 4
    alone = predict(series, power[..., None] * spectrum[:, None], noise[:, None].expand(2, 7), FUTURE, HIGHEST)
    together = predict_alike(series, power, spectrum, noise, FUTURE, HIGHEST)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


def test_series_without_power_are_predicted_as_nothing() -> None:
    spectrum = random_spectrum(1)
    nothing = predict_alike(gaussian(1, 3, PAST), torch.zeros(1, 3), spectrum / spectrum.sum(), torch.ones(1), FUTURE, HIGHEST)
    assert (nothing == 0).all()


@pytest.mark.parametrize("frequency", [-0.12, -0.0311, 0.0, 0.057, 0.11])
def test_a_spectrum_concentrates_where_the_tone_is(frequency: float) -> None:
    wave = torch.polar(torch.ones(PAST), 2 * math.pi * frequency * torch.arange(PAST))
    snapshots = gaussian(1, 4, 5, 1, seed=2) * wave + 0.1 * gaussian(1, 4, 5, PAST, seed=3)
    spectrum = spectra(snapshots, torch.tensor([0.01]), HIGHEST)
    grid = torch.linspace(-HIGHEST, HIGHEST, FREQUENCIES)
    near = (grid - frequency).abs() < 1 / PAST / 2
    assert (spectrum[..., near].sum(-1) > 0.9 * spectrum.sum(-1)).all()
    centre = (spectrum * grid).sum(-1) / spectrum.sum(-1)
    assert (centre - frequency).abs().max() < 0.01


def test_a_spectrum_holds_the_bins_own_power_without_the_noise() -> None:
    snapshots = gaussian(2, 5, 4, PAST) * torch.arange(1, 6)[:, None, None]
    spectrum = spectra(snapshots, torch.tensor([0.2, 0.4]), HIGHEST)
    own = snapshots[:, :, 0].abs().square().mean(-1) - torch.tensor([[0.2], [0.4]])
    torch.testing.assert_close(spectrum.sum(-1), own.clamp_min(0.01))
    assert (spectrum >= 0).all()


@pytest.mark.parametrize("noise_power", [0.1, 1.0, 10.0])
def test_a_flat_spectrum_in_noise_stays_flat_as_the_noise_counts_once(noise_power: float) -> None:
    # Series whose sample covariance is exactly that of a flat spectrum of power 1 plus noise: the iteration's fixed point.
    noise, flat = torch.tensor([noise_power]), torch.full((FREQUENCIES,), 1 / FREQUENCIES)
    root = torch.linalg.cholesky(covariance(flat, noise[0], waves(PAST, 1, HIGHEST, CPU).products))
    parts = (PAST / 2) ** 0.5 * root.mT
    transform = real_form(torch.eye(PAST, dtype=torch.complex64))
    snapshots = (torch.complex(parts, parts) @ transform.mH)[None, None]
    spectrum = spectra(snapshots, noise, HIGHEST)[0, 0]
    torch.testing.assert_close(spectrum / spectrum.mean(), torch.ones(FREQUENCIES), rtol=2e-3, atol=0)


def test_two_tones_are_told_apart() -> None:
    time = torch.arange(PAST)
    waves_there = torch.stack([torch.polar(torch.ones(PAST), 2 * math.pi * f * time) for f in (-0.08, 0.06)])
    snapshots = (gaussian(1, 2, 13, 2, seed=4) @ waves_there) + 0.03 * gaussian(1, 2, 13, PAST, seed=5)
    spectrum = spectra(snapshots, torch.tensor([0.001]), HIGHEST)
    grid = torch.linspace(-HIGHEST, HIGHEST, FREQUENCIES)
    near = ((grid + 0.08).abs() < 0.02) | ((grid - 0.06).abs() < 0.02)
    assert (spectrum[..., near].sum(-1) > 0.95 * spectrum.sum(-1)).all()


@pytest.mark.parametrize("noise_power", [1e-3, 1e-2])
@pytest.mark.parametrize("frequency", [-0.1103, 0.0, 0.0417, 0.12])
def test_fresh_weights_predict_a_single_path_without_noise(frequency: float, noise_power: float) -> None:
    task, _, _ = episodes("channel_prediction")
    h = tone(task, frequency)
    action = universal().act(task, {"csi": h[:, :PAST], "noise_power": torch.tensor([noise_power])})
    assert (action - h[:, PAST:]).abs().square().mean() < 5e-4


def nmse(metrics: dict[str, Tensor]) -> Tensor:
    """Over all episodes together: in a fade, an episode's own says more of its denominator."""
    return metrics["squared_error"].sum() / metrics["target_energy"].sum()


@pytest.mark.parametrize("scenario", ["uma-nlos-16", "cdl-c-32"])
def test_however_little_noise_there_is_the_prediction_is_a_good_one(scenario: str) -> None:
    errors = []
    for snr_db in (30.0, 60.0, 90.0):
        task, state, obs = episodes("channel_prediction", 24, scenario=scenario, num_subcarriers=48, snr_db=snr_db)
        ours, rival = (nmse(task.score(state, a.act(task, obs))) for a in (universal(), make_agent("ar_beamdelay")))
        assert ours < max(rival, torch.tensor(0.002))
        errors.append(ours)
    assert errors[2] < 1.2 * errors[1] and errors[1] < errors[0]


def test_fresh_weights_err_less_than_every_classical_predictor() -> None:
    task, state, obs = episodes("channel_prediction", 16, snr_db=(0, 20))
    ours = task.score(state, universal().act(task, obs))["nmse"].mean()
    for name in ("hold", "wiener", "ar_beamdelay", "pad", "kalman"):
        assert ours < task.score(state, make_agent(name).act(task, obs))["nmse"].mean()


def test_turning_the_channel_turns_the_prediction(speaking: LearnedAgent) -> None:
    task, _, obs = episodes("channel_prediction")
    before, phase = speaking.act(task, obs), torch.polar(torch.tensor(1.0), torch.tensor(2.1))
    difference = speaking.act(task, obs | {"csi": obs["csi"] * phase}) - before * phase
    assert difference.abs().max() < 5e-3 * before.abs().max()


@pytest.mark.parametrize("factor", [0.3, 30.0])
def test_scaling_channel_and_noise_scales_the_prediction(factor: float, speaking: LearnedAgent) -> None:
    task, _, obs = episodes("channel_prediction")
    scaled = {"csi": factor * obs["csi"], "noise_power": factor**2 * obs["noise_power"]}
    before = speaking.act(task, obs)
    assert (speaking.act(task, scaled) / factor - before).abs().max() < 5e-3 * before.abs().max()


@pytest.mark.parametrize(
    "setting",
    [
        {"num_subcarriers": 1},  # fewer bins than tokens
        {"num_subcarriers": 5},  # fewer than get a spectrum
        {"scenario": "uma-nlos-32", "num_subcarriers": 24, "snr_db": 30.0},
        {"speed_kmh": 150.0, "snr_db": 0.0},
    ],
    ids=str,
)
def test_antennas_subcarriers_speed_and_noise_may_be_any_with_the_same_weights(setting: dict[str, Any]) -> None:
    agent = stirred(universal(), episodes("channel_prediction")[0], strength=0.01)
    task, state, obs = episodes("channel_prediction", **setting)
    action = agent.act(task, obs)
    task.check_action(action, len(action))
    assert nmse(task.score(state, action)) < 1


def test_it_reckons_with_every_doppler_frequency_of_the_scenario() -> None:
    assert highest_doppler(episodes("channel_prediction")[0]) == HIGHEST_DOPPLER
    fast = episodes("channel_prediction", speed_kmh=300.0)[0]
    wavelength_m = 299792458.0 / fast.scenario.carrier_frequency_hz
    assert highest_doppler(fast) > 300 / 3.6 / wavelength_m * fast.scenario.slot_duration_s
    assert waves(PAST, FUTURE, highest_doppler(fast), CPU).future.shape == (FUTURE, FREQUENCIES)


def test_a_hidden_noise_power_is_estimated() -> None:
    task, state, obs = episodes("channel_prediction", num_subcarriers=48, snr_db=10.0)
    hidden = {key: value for key, value in obs.items() if key != "noise_power"}
    known, guessed = (task.score(state, universal().act(task, seen))["nmse"].mean() for seen in (obs, hidden))
    assert guessed < 1.2 * known


def test_errors_count_relative_to_the_start() -> None:
    task, state, obs = episodes("channel_prediction", snr_db=0.0)
    start = task.score(state, universal().act(task, obs))["nmse"]
    assert universal().loss(task, state, obs).item() == pytest.approx((start / (start + 0.003)).mean().item(), rel=1e-4)
