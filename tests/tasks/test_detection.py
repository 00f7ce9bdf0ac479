"""The detection task against closed forms."""

import math

import gymnasium as gym
import pytest
import torch
from finite_differences import assert_gradient_is_finite_difference, complex_pair
from scipy.stats import norm

from wirelessgym import make_agent, make_task
from wirelessgym.metrics import energy
from wirelessgym.modulation import bits_of, nearest


@pytest.mark.parametrize("subcarriers", [1, 4])
@pytest.mark.parametrize("normalisation", ["user", "sample", "none", "user-realised", "sample-realised"])
def test_the_received_signal_has_the_stated_snr(normalisation, subcarriers):
    settings = {"normalisation": normalisation, "csi_snr_db": None, "horizon": 1, "subcarriers": subcarriers}
    task = make_task("detection", scenario="uma-hard-16", snr_db=4, **settings)
    state, obs = task.reset(range(300))
    # Per receive antenna and with unit-energy symbols of all users: E |(H x)_n|^2 = sum_k |H_nk|^2.
    signal = obs["csi"].abs().square().sum(-1).flatten(1).mean(-1)
    snr = signal / obs["noise_power"]
    if normalisation.endswith("-realised"):
        torch.testing.assert_close(snr, torch.full((300,), 10**0.4))
    else:  # on average; in a single episode it fades
        error = float(snr.std()) / math.sqrt(len(snr))
        assert float(snr.mean()) == pytest.approx(10**0.4, abs=4 * error) and error > 0.01
    noiseless = torch.einsum("b...nk,b...sk->b...sn", state.h, task.constellation[state.sent])
    realised = (obs["received"] - noiseless).abs().square().flatten(1).mean(-1) / obs["noise_power"]
    assert float(realised.mean()) == pytest.approx(1, abs=0.03)


def test_every_subcarrier_has_a_channel_symbols_and_noise_of_its_own():
    task = make_task("detection", scenario="cdl-c-32", subcarriers=4, num_slots=20, csi_snr_db=10)
    state, obs = task.reset(range(64))
    noise = obs["received"] - torch.einsum("btnk,btsk->btsn", state.h, task.constellation[state.sent])
    for entry in (noise, obs["csi"] - state.h, task.constellation[state.sent]):
        flat = entry.movedim(1, 0).flatten(1)
        correlation = (flat.conj() @ flat.mT).abs() / flat[0].abs().square().sum()
        assert (correlation - torch.eye(4)).abs().max() < 0.08
    assert (state.h[:, 0] - state.h[:, 2]).abs().mean() > 0.1


def test_errors_are_counted_over_all_subcarriers():
    task = make_task("detection", scenario="rayleigh-32", subcarriers=3, llrs=True)
    state, _ = task.reset(range(4))
    symbols = task.constellation[state.sent]
    symbols[:, 1] = 0  # one of three is lost: every decision falls on the wrong side of a tie, or by luck on the right one
    llrs = torch.where(bits_of(state.sent, 4), 20.0, -20.0)
    llrs[:, 1] *= -1
    metrics = task.score(state, {"symbols": symbols, "llrs": llrs})
    lost, whole = (energy(task.constellation[x]) for x in (state.sent[:, 1], state.sent))
    torch.testing.assert_close(metrics["nmse"], lost / whole)
    torch.testing.assert_close(metrics["ber"], torch.full((4,), 1 / 3))
    wrong = (nearest(symbols[:, 1], task.constellation) != state.sent[:, 1]).float().mean((1, 2))
    torch.testing.assert_close(metrics["ser"], wrong / 3)


@pytest.mark.parametrize(
    ("modulation", "levels", "subcarriers"), [("qpsk", 2, 1), ("16qam", 4, 1), ("64qam", 8, 1), ("16qam", 4, 5)]
)
def test_single_user_symbol_errors_of_the_genie_are_those_of_awgn(modulation, levels, subcarriers):
    settings = {"num_users": 1, "snr_db": 0, "modulation": modulation, "num_slots": 20 // subcarriers, "horizon": 1}
    task = make_task("detection", scenario="cdl-c-32", subcarriers=subcarriers, **settings)
    state, obs = task.reset(range(1000))
    snr = obs["csi"].abs().square().sum((-1, -2)) / obs["noise_power"].view(-1, *[1] * (obs["csi"].ndim - 3))
    tail = torch.from_numpy(norm.sf((3 * snr / (levels**2 - 1)).sqrt().numpy()))
    error = float((1 - (1 - 2 * (1 - 1 / levels) * tail) ** 2).mean())
    found = float(task.bound_metrics(state)["ser"].mean())
    assert found == pytest.approx(error, abs=4 * math.sqrt(error / 20_000) + 1e-4)


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


@pytest.mark.parametrize("subcarriers", [1, 3])
def test_gradients_through_step_are_finite_differences(subcarriers):
    task = make_task("detection", scenario="rayleigh-32", subcarriers=subcarriers)
    state, _ = task.reset(range(3))
    (field,) = task.action_fields
    assert_gradient_is_finite_difference(task, state, *complex_pair(3, *field.shape), 0.1, rel=1e-3)


def test_more_subcarriers_than_the_scenario_has_are_refused():
    with pytest.raises(ValueError, match=r"detection: subcarriers: allowed is 1 to the scenario's num_subcarriers, 12, got 13"):
        make_task("detection", num_subcarriers=12, subcarriers=13)


def test_gymnasium_sees_the_subcarriers_as_a_leading_axis():
    env = gym.make("wirelessgym/Detection-v0", scenario="rayleigh-32", subcarriers=5, llrs=True)
    shapes = {name: space.shape for name, space in env.action_space.spaces.items()}
    assert shapes == {"symbols": (5, 6, 4, 2), "llrs": (5, 6, 4, 4)}
    obs, _ = env.reset(seed=1)
    assert obs["received"].shape == (5, 6, 32, 2) and obs["csi"].shape == (5, 32, 4, 2)
    _, reward, *_ = env.step(env.action_space.sample())
    assert math.isfinite(reward)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="modulation: input should be 'qpsk', '16qam' or '64qam', got '8psk'"):
        make_task("detection", modulation="8psk")
    with pytest.raises(ValueError, match=r"num_slots: input should be a valid integer, got 2.5"):
        make_task("detection", num_slots=2.5)
    with pytest.raises(ValueError, match="detection: llrs: input should be a valid boolean, got 'false'"):
        make_task("detection", llrs="false")


@pytest.mark.parametrize("subcarriers", [1, 3])
def test_it_renders_sent_points_and_estimates(subcarriers):
    task = make_task("detection", scenario="rayleigh-32", subcarriers=subcarriers)
    state, obs = task.reset(range(2))
    image = task.render(state, make_agent("lmmse").act(task, obs))
    assert image.shape == (300, 400, 3) and image.std() > 5


@pytest.mark.parametrize("modulation", ["qpsk", "64qam"])
def test_every_symbol_of_the_constellation_is_sent_equally_often(modulation):
    task = make_task("detection", scenario="rayleigh-32", modulation=modulation, num_slots=100)
    state, _ = task.reset(range(80))
    points = len(task.constellation)
    count = torch.bincount(state.sent.flatten(), minlength=points)
    assert len(count) == points
    expected = state.sent.numel() / points
    assert ((count - expected).abs() < 5 * math.sqrt(expected)).all()


def test_bits_are_those_of_the_modulation_however_many_users_there_are():
    from wirelessgym.modulation import bits_of

    task = make_task("detection", scenario="rayleigh-32", llrs=True, modulation="64qam", num_users=3)
    state, _ = task.reset(range(8))
    bits = bits_of(state.sent, 6)
    _, step = task.step(state, {"symbols": task.constellation[state.sent], "llrs": torch.where(bits, 20.0, -20.0)})
    assert step.metrics["ber"].max() == 0
    _, half = task.step(state, {"symbols": task.constellation[state.sent], "llrs": torch.full(bits.shape, 20.0)})
    torch.testing.assert_close(half.metrics["ber"], 1 - bits.float().mean((1, 2, 3)))
