"""Known channels differ from true ones by an error of stated variance that belongs to its slot; absent users have none."""

import pytest
import torch

from wirelessgym import make_task

TASKS = ["precoding", "detection"]


def error_of(state, obs):
    """What the channel is thought to be, less what it is; users first."""
    error = obs["csi"] - state.h
    return error.mT if error.shape[-1] == state.present.shape[-1] else error


@pytest.mark.parametrize("name", TASKS)
def test_the_error_has_the_stated_variance_and_no_mean(name):
    task = make_task(name, scenario="rayleigh-32", csi_snr_db=5, normalisation="sample")
    state, obs = task.reset(range(200))
    error = error_of(state, obs)
    assert float(error.abs().square().mean()) == pytest.approx(10**-0.5, rel=0.03)
    assert error.mean().abs() < 0.02
    assert float(error.real.square().mean() / error.imag.square().mean()) == pytest.approx(1, abs=0.05)


def test_a_channel_heard_of_late_comes_with_the_error_of_the_slot_in_which_it_was_measured():
    settings = {"scenario": "rayleigh-32", "csi_snr_db": 5}
    fresh, aged = make_task("precoding", **settings), make_task("precoding", csi_delay_slots=2, **settings)
    _, measured = fresh.reset(range(4))
    late, _ = aged.reset(range(4))
    for _ in range(2):
        late, heard = aged.advance(late)
    torch.testing.assert_close(heard["csi"], measured["csi"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_nothing_is_known_of_users_that_take_no_part(name):
    task = make_task(name, scenario="rayleigh-32", csi_snr_db=5, num_users=(1, 4))
    state, obs = task.reset(range(40))
    users_first = obs["csi"].mT if name == "detection" else obs["csi"]
    assert not bool(obs["mask"].all())
    assert bool((users_first[~obs["mask"]] == 0).all())
    assert bool((error_of(state, obs)[obs["mask"]] != 0).all())


def test_signal_and_error_are_stated_against_the_users_that_take_part():
    task = make_task("precoding", scenario="rayleigh-32", normalisation="user", num_users=(1, 6), snr_db=7, csi_snr_db=5)
    _, obs = task.reset(range(40))
    assert len(set(obs["mask"].sum(-1).tolist())) > 3
    torch.testing.assert_close(obs["noise_power"], obs["tx_power"] * 10**-0.7)
    torch.testing.assert_close(obs["csi_noise_power"], torch.full((40,), 10**-0.5))
