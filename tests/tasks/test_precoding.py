"""The precoding task against closed forms."""

import math

import pytest
import torch
from finite_differences import assert_gradient_is_finite_difference

from wirelessgym import make_agent, make_task
from wirelessgym.metrics import energy, user_rates


def first_step(agent, episodes=64, **overrides):
    task = make_task("precoding", **({"scenario": "rayleigh-32"} | overrides))
    state, obs = task.reset(range(episodes), seed=3)
    _, step = task.step(state, agent(obs) if callable(agent) else make_agent(agent).act(task, obs))
    return task, state, obs, step


def test_a_single_user_with_matched_filtering_reaches_capacity():
    task, state, obs, step = first_step("mrt", num_users=1)
    capacity = torch.log2(1 + obs["tx_power"] * energy(obs["csi"]) / obs["noise_power"])
    torch.testing.assert_close(step.reward, capacity)
    torch.testing.assert_close(task.bound(state), capacity)


def test_zero_forcing_rate_is_the_closed_form():
    task, _, obs, step = first_step("zf", num_users=4)
    gram = obs["csi"] @ obs["csi"].mH
    loss = torch.linalg.inv(gram).diagonal(dim1=-2, dim2=-1).real
    rate = torch.log2(1 + task.tx_power / 4 / (loss * obs["noise_power"][:, None]))
    torch.testing.assert_close(step.metrics["user_rate"], rate, rtol=1e-3, atol=1e-3)


def test_ergodic_rate_of_one_rayleigh_antenna_is_the_exponential_integral():
    # E log2(1 + snr |h|^2) = e^{1/snr} E_1(1/snr) / ln 2 (Alouini, Goldsmith, IEEE Trans. Veh. Technol. 48(4), 1999, eq. (34)).
    from scipy.special import exp1

    task = make_task("precoding", scenario="rayleigh-32", panel={"rows": 1, "columns": 1}, num_users=1, noise_power_dbw=-10)
    state, obs = task.reset(range(20_000), seed=0)
    _, step = task.step(state, make_agent("mrt").act(task, obs))
    expected = math.exp(0.1) * exp1(0.1) / math.log(2)
    error = 4 * float(step.reward.std()) / math.sqrt(len(step.reward))
    assert float(step.reward.mean()) == pytest.approx(expected, abs=error)


def test_a_precoder_above_the_budget_is_scaled_down_and_reported():
    _, state, _, step = first_step(lambda obs: 5 * obs["csi"])
    norm = energy(5 * state.csi).rsqrt()
    torch.testing.assert_close(step.metrics["power_scale"], norm)
    torch.testing.assert_close(step.reward, user_rates(state.h, 5 * norm[:, None, None] * state.csi, state.noise_power).sum(-1))


def test_a_precoder_within_the_budget_is_left_alone():
    *_, step = first_step(lambda obs: 1e-3 * obs["csi"])
    assert (step.metrics["power_scale"] == 1).all()


@pytest.mark.parametrize("normalisation", ["user", "sample", "none"])
def test_isotropic_signals_are_received_at_the_stated_snr(normalisation):
    task = make_task("precoding", scenario="uma-hard-16", normalisation=normalisation, snr_db=7, tx_power_dbw=3, csi_snr_db=None)
    state, obs = task.reset(range(16), seed=0)
    received = []
    for _ in range(task.horizon):
        # E |h_k^H x|^2 for x of covariance P / N I, averaged over users.
        received.append(task.tx_power * obs["csi"].abs().square().mean((-1, -2)))
        state, obs = task.advance(state)
    snr = torch.stack(received).mean(0) / obs["noise_power"]
    torch.testing.assert_close(snr, torch.full((16,), 10**0.7), rtol=1e-4, atol=0)


def test_user_normalisation_gives_every_user_unit_power():
    task = make_task("precoding", scenario="uma-hard-16", normalisation="user", csi_snr_db=None, horizon=1)
    power = task.reset(range(8))[1]["csi"].abs().square().mean(-1)
    torch.testing.assert_close(power, torch.ones_like(power))


def test_snr_drawn_from_a_range_stays_in_it_and_fills_it():
    task = make_task("precoding", scenario="rayleigh-32", snr_db=(0, 20), normalisation="user")
    snr_db = -10 * torch.log10(task.reset(range(400))[1]["noise_power"])
    assert snr_db.min() >= -1e-4 and snr_db.max() <= 20 + 1e-4
    assert float(snr_db.mean()) == pytest.approx(10, abs=1.2)


def test_csi_error_has_the_stated_variance():
    task = make_task("precoding", scenario="rayleigh-32", csi_snr_db=5, normalisation="sample")
    state, obs = task.reset(range(200))
    variance = (obs["csi"] - state.h).abs().square().mean()
    assert float(variance) == pytest.approx(10**-0.5, rel=0.03)
    torch.testing.assert_close(obs["csi_noise_power"], torch.full((200,), 10**-0.5))


def test_aged_csi_is_the_channel_of_some_slots_ago():
    settings = {"scenario": "uma-nlos-16", "speed_kmh": 50}
    fresh, aged = make_task("precoding", **settings), make_task("precoding", csi_delay_slots=2, **settings)
    state, obs = fresh.reset(range(4))
    late, _ = aged.reset(range(4))
    seen = [obs["csi"]]
    for _ in range(2):
        state, step = fresh.step(state, obs["csi"])
        late, aged_step = aged.step(late, obs["csi"])
        seen.append(step.obs["csi"])
    torch.testing.assert_close(aged_step.obs["csi"], seen[0], atol=1e-5, rtol=1e-4)
    assert (aged_step.obs["csi"] - seen[2]).abs().max() > 1e-2


def test_a_channel_at_rest_stays_and_a_moving_one_moves_on():
    for speed, moves in ((0, False), (80, True)):
        task = make_task("precoding", scenario="uma-nlos-16", speed_kmh=speed)
        state, obs = task.reset(range(2))
        _, step = task.step(state, obs["csi"])
        assert bool((step.obs["csi"] - obs["csi"]).abs().max() > 1e-3) is moves


def test_equal_shares_of_power_and_regularisation_are_rzf():
    *_, by_structure = first_step(lambda obs: torch.ones(64, 4, 2), action="structure")
    *_, by_rzf = first_step("rzf")
    torch.testing.assert_close(by_structure.reward, by_rzf.reward, rtol=1e-4, atol=1e-4)


def test_users_that_take_no_part_are_masked_out_and_cost_nothing():
    task, state, obs, step = first_step("zf", num_users=(2, 6))
    count = obs["mask"].sum(-1)
    assert set(count.tolist()) == {2, 3, 4, 5, 6}
    assert (obs["csi"][~obs["mask"]] == 0).all()
    assert (step.metrics["user_rate"].isnan() == ~obs["mask"]).all()
    torch.testing.assert_close(step.reward, step.metrics["user_rate"].nansum(-1))
    assert (step.reward <= task.bound(state) * 1.001).all()


@pytest.mark.parametrize("options", [{}, {"action": "structure"}, {"csi_snr_db": 10, "num_users": (2, 4)}])
def test_gradients_through_step_are_finite_differences(options):
    task = make_task("precoding", scenario="rayleigh-32", **options)
    state, _ = task.reset(range(3))
    (field,) = task.action_fields
    generator = torch.Generator().manual_seed(0)
    point = torch.rand(3, *field.shape, dtype=field.torch_dtype, generator=generator) + 0.1
    direction = torch.rand(point.shape, dtype=point.dtype, generator=generator) - 0.5
    assert_gradient_is_finite_difference(task, state, point, direction, 1e-2, rel=2e-2, abs=2e-3)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="precoding: action: input should be 'precoder' or 'structure', got 'beam'"):
        make_task("precoding", action="beam")
    with pytest.raises(ValueError, match=r"csi_delay_slots: allowed is 0 to 1000, got -1"):
        make_task("precoding", csi_delay_slots=-1)


def test_it_draws_itself():
    task, state, obs, _ = first_step("rzf", episodes=2)
    image = task.render(state, make_agent("rzf").act(task, obs))
    assert image.shape == (300, 800, 3) and image.std() > 5
