"""The detection task against closed forms."""

import math

import pytest
import torch
from finite_differences import assert_gradient_is_finite_difference, complex_pair
from scipy.stats import norm

from wirelessgym import make_agent, make_task


@pytest.mark.parametrize("normalisation", ["user", "sample", "none"])
def test_the_received_signal_has_the_stated_snr(normalisation):
    task = make_task("detection", scenario="uma-hard-16", snr_db=4, normalisation=normalisation, csi_snr_db=None, horizon=1)
    state, obs = task.reset(range(300))
    # Per receive antenna and with unit-energy symbols of all users: E |(H x)_n|^2 = sum_k |H_nk|^2.
    torch.testing.assert_close(obs["csi"].abs().square().sum(-1).mean(-1) / obs["noise_power"], torch.full((300,), 10**0.4))
    noiseless = torch.einsum("bnk,bsk->bsn", state.h, task.constellation[state.sent])
    realised = (obs["received"] - noiseless).abs().square().mean((1, 2)) / obs["noise_power"]
    assert float(realised.mean()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("modulation", "levels"), [("qpsk", 2), ("16qam", 4), ("64qam", 8)])
def test_single_user_symbol_errors_are_those_of_awgn(modulation, levels):
    task = make_task("detection", scenario="rayleigh-32", num_users=1, snr_db=0, modulation=modulation, num_slots=20, horizon=1)
    state, obs = task.reset(range(2000))
    _, step = task.step(state, make_agent("zf").act(task, obs))
    snr = obs["csi"].abs().square().sum((-1, -2)) / obs["noise_power"]
    # Square QAM in white noise: Proakis, "Digital Communications", 4th ed., eq. (5.2-78) and (5.2-79).
    tail = torch.from_numpy(norm.sf((3 * snr / (levels**2 - 1)).sqrt().numpy()))
    error = 1 - (1 - 2 * (1 - 1 / levels) * tail) ** 2
    sent = 2000 * 20
    deviation = 4 * math.sqrt(float(error.mean()) / sent) + 1e-4
    assert float(step.metrics["ser"].mean()) == pytest.approx(float(error.mean()), abs=deviation)


def test_perfect_estimates_leave_no_error():
    task = make_task("detection", scenario="rayleigh-32", num_users=(1, 3))
    state, _ = task.reset(range(8))
    _, step = task.step(state, task.constellation[state.sent])
    assert step.metrics["nmse"].max() == 0 and step.metrics["ser"].max() == 0


def test_estimates_of_zero_have_unit_nmse():
    task = make_task("detection", scenario="rayleigh-32")
    state, _ = task.reset(range(8))
    _, step = task.step(state, torch.zeros(8, 6, 4, dtype=torch.complex64))
    torch.testing.assert_close(step.metrics["nmse"], torch.ones(8))


def test_llrs_that_know_the_bits_reach_the_full_rate():
    from wirelessgym.modulation import bits_of

    task = make_task("detection", scenario="rayleigh-32", llrs=True)
    state, _ = task.reset(range(8))
    bits = bits_of(state.sent, 4)
    _, step = task.step(state, {"symbols": task.constellation[state.sent], "llrs": torch.where(bits, 20.0, -20.0)})
    assert step.metrics["ber"].max() == 0
    torch.testing.assert_close(step.metrics["gmi"], torch.full((8,), 4.0))
    _, ignorant = task.step(state, {"symbols": task.constellation[state.sent], "llrs": torch.zeros(8, 6, 4, 4)})
    torch.testing.assert_close(ignorant.metrics["gmi"], torch.zeros(8))


@pytest.mark.parametrize("agent", ["zf", "lmmse", "lmmse_soft", "oamp", "kbest"])
def test_no_detector_beats_the_genie_on_average(agent):
    task = make_task("detection", scenario="rayleigh-32", num_users=8, panel={"rows": 4, "columns": 3}, snr_db=10)
    state, obs = task.reset(range(200))
    genie = task.bound_metrics(state)
    _, step = task.step(state, make_agent(agent).act(task, obs))
    assert step.metrics["squared_error"].sum() > genie["squared_error"].sum()
    assert step.metrics["ser"].mean() >= genie["ser"].mean()


def test_hidden_noise_power_is_not_observed():
    task = make_task("detection", scenario="rayleigh-32", noise_power_observable=False)
    assert set(task.reset([0])[1]) == {"received", "csi"}


def test_gradients_through_step_are_finite_differences():
    task = make_task("detection", scenario="rayleigh-32")
    state, _ = task.reset(range(3))
    assert_gradient_is_finite_difference(task, state, *complex_pair(3, 6, 4), 0.1, rel=1e-3)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="modulation: input should be 'qpsk', '16qam' or '64qam', got '8psk'"):
        make_task("detection", modulation="8psk")
    with pytest.raises(ValueError, match=r"num_slots: input should be a valid integer, got 2.5"):
        make_task("detection", num_slots=2.5)
    with pytest.raises(ValueError, match="detection: llrs: input should be a valid boolean, got 'false'"):
        make_task("detection", llrs="false")


def test_it_draws_itself():
    task = make_task("detection", scenario="rayleigh-32")
    state, obs = task.reset(range(2))
    image = task.render(state, make_agent("lmmse").act(task, obs))
    assert image.shape == (300, 400, 3) and image.std() > 5
