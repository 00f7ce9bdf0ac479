"""The channel prediction task against closed forms."""

import math
from dataclasses import replace

import pytest
import torch
from finite_differences import assert_gradient_is_finite_difference, complex_pair

from wirelessgym import make_agent, make_task

SMALL = {"scenario": "uma-nlos-16", "num_subcarriers": 8}


def ratio(metrics):
    return float(metrics["squared_error"].sum() / metrics["target_energy"].sum())


def test_the_past_has_the_stated_snr():
    task = make_task("channel_prediction", snr_db=5, horizon=1, **SMALL)
    state, obs = task.reset(range(20))
    clean = task.channel.response(state.drop, torch.full((20,), -15), 16)[:, 0, :, 0]
    noise = (obs["csi"] - clean).abs().square().mean((1, 2, 3))
    torch.testing.assert_close(noise / obs["noise_power"], torch.ones(20), atol=0.1, rtol=0)
    whole = torch.cat([clean, state.future], 1).abs().square().mean((1, 2, 3))
    snr = whole / obs["noise_power"]
    assert float(snr.mean()) == pytest.approx(10**0.5, abs=4 * float(snr.std()) / math.sqrt(len(snr)))


def test_the_window_moves_on_and_its_noise_stays_with_its_slots():
    task = make_task("channel_prediction", **SMALL)
    state, obs = task.reset(range(3))
    truth = state.future
    after, step = task.step(state, truth)
    torch.testing.assert_close(step.obs["csi"][:, :12], obs["csi"][:, 4:])
    noise = (step.obs["csi"][:, 12:] - truth).abs().square().mean()
    assert float(noise) == pytest.approx(0.1, rel=0.1)
    direct = task.channel.response(after.drop, torch.full((3,), 5), 4)[:, 0, :, 0]
    torch.testing.assert_close(after.future, direct)


def test_the_true_future_has_no_error_and_full_spectral_efficiency():
    task = make_task("channel_prediction", **SMALL)
    state, _ = task.reset(range(4))
    _, step = task.step(state, state.future)
    assert step.metrics["nmse"].max() == 0
    gain = state.future.abs().square().sum(2) / (state.power / 10)[:, None, None]
    torch.testing.assert_close(step.metrics["spectral_efficiency"], torch.log2(1 + gain).mean((1, 2)))


def test_holding_a_channel_at_rest_leaves_just_the_noise():
    task = make_task("channel_prediction", speed_kmh=0, snr_db=10, **SMALL)
    state, obs = task.reset(range(40))
    _, step = task.step(state, make_agent("hold").act(task, obs))
    assert ratio(step.metrics) == pytest.approx(0.1, rel=0.05)


def test_nmse_per_slot_averages_to_nmse():
    task = make_task("channel_prediction", **SMALL)
    state, obs = task.reset(range(4))
    _, step = task.step(state, make_agent("hold").act(task, obs))
    weights = state.future.abs().square().sum((2, 3))
    mean = (step.metrics["nmse_per_slot"] * weights).sum(1) / weights.sum(1)
    torch.testing.assert_close(mean, step.metrics["nmse"])


def test_released_noise_scaling_is_15_db_of_snr():
    def noise_power(**options):
        return make_task("channel_prediction", **SMALL, **options).reset([0])[1]["noise_power"]

    assert float(noise_power() / noise_power(released_noise_scaling=True)) == pytest.approx(32)


def test_noisy_targets_put_a_floor_of_the_noise_under_every_predictor():
    task = make_task("channel_prediction", noisy_targets=True, horizon=1, **SMALL)
    state, _ = task.reset(range(40))
    _, step = task.step(state, state.future)
    assert ratio(step.metrics) == pytest.approx(0.1 / 1.1, rel=0.05)
    clean = make_task("channel_prediction", **SMALL).bound_metrics(state)["squared_error"]
    floor = task.bound_metrics(state)["squared_error"] - clean
    assert float(floor.sum() / step.metrics["squared_error"].sum()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("agent", ["hold", "wiener", "ar", "ar_beamdelay"])
def test_no_predictor_beats_the_geometry_bound(agent):
    task = make_task("channel_prediction", **SMALL)
    state, obs = task.reset(range(20))
    _, step = task.step(state, make_agent(agent).act(task, obs))
    assert ratio(step.metrics) > ratio(task.bound_metrics(state))


def test_the_bound_expects_the_energy_that_the_target_has():
    task = make_task("channel_prediction", scenario="uma-nlos-32", num_subcarriers=48)
    state, _ = task.reset(range(60))
    realised = state.future.abs().square().sum((1, 2, 3))
    assert float((task.bound_metrics(state)["target_energy"] / realised).log().mean().exp()) == pytest.approx(1, rel=0.25)


def test_gradients_through_step_are_finite_differences():
    task = make_task("channel_prediction", **SMALL)
    state, _ = task.reset(range(3))
    assert_gradient_is_finite_difference(task, state, *complex_pair(3, 4, 16, 8), 0.1, rel=1e-3)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"num_past: allowed is 1 to 256, got 0"):
        make_task("channel_prediction", num_past=0)


def test_it_draws_itself():
    task = make_task("channel_prediction", **SMALL)
    state, obs = task.reset(range(2))
    image = task.render(state, make_agent("hold").act(task, obs))
    assert image.shape == (300, 1200, 3) and image.std() > 5


def test_noisy_targets_are_what_the_next_observation_shows():
    task = make_task("channel_prediction", noisy_targets=True, **SMALL)
    state, _ = task.reset(range(3))
    _, later = task.advance(state)
    assert task.score(state, later["csi"][:, -task.num_future :])["nmse"].max() < 1e-12


def test_the_bound_takes_each_polarisation_by_itself():
    task = make_task("channel_prediction", **SMALL, **{"panel.polarisation": "dual"})
    state, _ = task.reset(range(4))
    gain = state.drop.rays.gain

    def bound_with(kept):
        rays = replace(state.drop.rays, gain=gain * kept.view(1, 1, 1, 2, 1, 1))
        return task.bound_metrics(replace(state, drop=replace(state.drop, rays=rays)))

    both, one, other = (bound_with(torch.tensor(kept)) for kept in ([1.0, 1.0], [1.0, 0.0], [0.0, 1.0]))
    torch.testing.assert_close(both["squared_error"], one["squared_error"] + other["squared_error"])
    entries = task.num_future * 16 * 8  # slots, antennas of a polarisation, subcarriers
    torch.testing.assert_close(both["target_energy"], entries * gain.abs().square().sum((1, 2, 3, 4, 5)))
    torch.testing.assert_close(both["nmse"], both["squared_error"] / both["target_energy"])
    torch.testing.assert_close(both["nmse_db"], 10 * both["nmse"].log10())
