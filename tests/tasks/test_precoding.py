"""The precoding task against closed forms."""

import math

import gymnasium as gym
import pytest
import torch
from finite_differences import assert_gradient_is_finite_difference

from wirelessgym import make_agent, make_task
from wirelessgym.channel import Channel
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


@pytest.mark.parametrize("subcarriers", [1, 4])
@pytest.mark.parametrize("normalisation", ["user", "sample", "none", "user-realised", "sample-realised"])
def test_isotropic_signals_are_received_at_the_stated_snr(normalisation, subcarriers):
    settings = {"normalisation": normalisation, "snr_db": 7, "tx_power_dbw": 3, "csi_snr_db": None}
    task = make_task("precoding", scenario="uma-hard-16", subcarriers=subcarriers, **settings)
    state, obs = task.reset(range(128), seed=0)
    received = []
    for _ in range(task.horizon):
        # E |h_k^H x|^2 for x of covariance P / (S N) I on each of S subcarriers, averaged over users and subcarriers.
        received.append(task.tx_power / subcarriers * obs["csi"].abs().square().flatten(1).mean(-1))
        state, obs = task.advance(state)
    snr = torch.stack(received).mean(0) / obs["noise_power"]
    if normalisation.endswith("-realised"):
        torch.testing.assert_close(snr, torch.full((128,), 10**0.7), rtol=1e-4, atol=0)
    else:  # on average; in a single episode it fades
        error = float(snr.std()) / math.sqrt(len(snr))
        assert float(snr.mean()) == pytest.approx(10**0.7, abs=4 * error) and error > 0.01


def test_user_normalisation_by_realised_power_gives_every_user_unit_power():
    task = make_task("precoding", scenario="uma-hard-16", normalisation="user-realised", csi_snr_db=None, horizon=1)
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


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"action": "structure"},
        {"csi_snr_db": 10, "num_users": (2, 4)},
        {"subcarriers": 3, "csi_snr_db": 10},
        {"subcarriers": 3, "csi_snr_db": 10, "action": "structure"},
    ],
)
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


def several(scenario="cdl-c-32", subcarriers=6, episodes=16, **overrides):
    task = make_task("precoding", scenario=scenario, subcarriers=subcarriers, **overrides)
    return task, *task.reset(range(episodes), seed=3)


def everywhere(task, one):
    """A precoder for one subcarrier on all of them, with an equal share of its power on each."""
    return (one / math.sqrt(task.subcarriers))[:, None].expand(-1, task.subcarriers, -1, -1)


def test_subcarriers_of_the_task_are_evenly_spaced_ones_of_the_scenario():
    settings = {"scenario": "cdl-c-32", "normalisation": "none", "num_subcarriers": 48}
    task, state, obs = several(**settings)
    whole = Channel(task.scenario, task.scenario.max_users, 48).response(state.drop, state.time_step)[:, :, 0, 0]
    torch.testing.assert_close(obs["csi"], whole[..., ::8].movedim(-1, 1), rtol=1e-3, atol=1e-4)
    _, narrow = make_task("precoding", **settings).reset(range(16), seed=3)
    torch.testing.assert_close(narrow["csi"], whole[..., 24], rtol=1e-3, atol=1e-4)


def test_subcarriers_that_are_no_divisor_still_cover_the_whole_band():
    task, state, obs = several(subcarriers=5, num_subcarriers=48, normalisation="none")
    fine = Channel(task.scenario, task.scenario.max_users, 240, task.scenario.subcarrier_spacing_hz / 5)
    whole = fine.response(state.drop, state.time_step)[:, :, 0, 0]
    torch.testing.assert_close(obs["csi"], whole[..., 24::48].movedim(-1, 1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("noise", [{"snr_db": 5}, {"noise_power_dbw": -12, "tx_power_dbw": 3}])
def test_on_a_flat_channel_several_subcarriers_have_the_rate_of_one(noise):
    narrow = make_task("precoding", scenario="rayleigh-32", **noise)
    state, obs = narrow.reset(range(8), seed=3)
    w = make_agent("rzf").act(narrow, obs)
    expected = narrow.score(state, w)
    task, wide, _ = several("rayleigh-32", 5, 8, **noise)
    found = task.score(wide, everywhere(task, w))
    for name in ("sum_rate", "user_rate", "min_rate", "power_scale"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(task.bound(wide), narrow.bound(state), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(task.interference_free_bound(wide), narrow.interference_free_bound(state), rtol=1e-4, atol=1e-4)


def test_the_sum_rate_is_the_mean_over_subcarriers_of_what_the_formula_gives_on_each():
    task, state, obs = several(num_users=3)
    w = 0.03 * torch.randn(obs["csi"].shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    rate = torch.zeros(16, 3)
    for s in range(6):
        received = torch.einsum("bkn,bjn->bkj", state.h[:, s].conj(), w[:, s]).abs().square()
        for k in range(3):
            others = received[:, k].sum(-1) - received[:, k, k]
            rate[:, k] += torch.log2(1 + received[:, k, k] / (others + state.noise_power)) / 6
    metrics = task.score(state, w)
    torch.testing.assert_close(metrics["user_rate"], rate, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(metrics["sum_rate"], rate.sum(-1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(metrics["min_rate"], rate.amin(-1), rtol=1e-4, atol=1e-5)
    assert (state.h[:, 0] - state.h[:, 3]).abs().mean() > 0.1


def test_the_budget_holds_over_all_subcarriers_together():
    task, state, obs = several()
    beams = obs["csi"] / energy(obs["csi"][:, 2]).sqrt()[:, None, None, None]
    alone = torch.zeros_like(beams)
    alone[:, 2] = beams[:, 2]
    assert (task.score(state, alone)["power_scale"] == 1).all()
    scaled = task.score(state, beams)
    torch.testing.assert_close(scaled["power_scale"], energy(beams).rsqrt())
    within = beams * scaled["power_scale"][:, None, None, None]
    torch.testing.assert_close(scaled["sum_rate"], user_rates(state.h, within, state.noise_power).sum(-1).mean(-1))


@pytest.mark.parametrize("snr_db", [-10, 20])
def test_no_split_of_power_over_subcarriers_beats_the_bound(snr_db):
    task, state, obs = several(subcarriers=4, snr_db=snr_db, num_users=3)
    bound = task.bound(state)
    narrow = make_task("precoding", scenario="cdl-c-32", num_users=3)
    best = torch.zeros(16)
    for trial in range(20):
        split = torch.rand(16, 4, generator=torch.Generator().manual_seed(trial)) ** 4
        power = task.tx_power * split / split.sum(-1, keepdim=True)
        one = {
            "csi": obs["csi"].flatten(0, 1),
            "noise_power": obs["noise_power"].repeat_interleave(4),
            "tx_power": power.flatten(),
        }
        w = make_agent("wmmse", iterations=30).act(narrow, one).unflatten(0, (16, 4))
        best = torch.maximum(best, task.score(state, w)["sum_rate"])
    assert (best <= bound * 1.0001).all()
    assert (best >= 0.6 * bound).all()


def test_every_subcarrier_has_an_estimation_error_of_its_own():
    task, state, obs = several("rayleigh-32", 4, 400, csi_snr_db=5, normalisation="sample", num_users=2)
    error = obs["csi"] - state.h
    power = error.abs().square().mean((0, 2, 3))
    torch.testing.assert_close(power, torch.full((4,), 10**-0.5), rtol=0.05, atol=0)
    correlation = torch.einsum("bskn,btkn->st", error.conj(), error).abs() / error[:, 0].numel() / power.mean()
    assert (correlation - torch.eye(4)).abs().max() < 0.05
    later, _ = task.advance(state)
    assert (later.csi - later.h - error).abs().mean() > 0.1


def test_aged_csi_on_several_subcarriers_is_the_channel_of_a_slot_ago():
    settings = {"scenario": "uma-nlos-16", "subcarriers": 3, "speed_kmh": 50, "episodes": 4}
    _, _, obs = several(**settings)
    aged, state, _ = several(csi_delay_slots=1, **settings)
    state, late = aged.advance(state)
    torch.testing.assert_close(late["csi"], obs["csi"], atol=1e-5, rtol=1e-4)
    assert (state.h - state.csi).abs().max() > 1e-2


def test_absent_users_get_no_power_on_any_subcarrier():
    task, state, obs = several("rayleigh-32", 3, num_users=(2, 5))
    everyone = torch.ones_like(obs["csi"]) / math.sqrt(obs["csi"][0].numel())
    metrics = task.score(state, everyone)
    assert (metrics["user_rate"].isnan() == ~obs["mask"]).all()
    masked = everyone * obs["mask"][:, None, :, None]
    torch.testing.assert_close(metrics["sum_rate"], task.score(state, masked)["sum_rate"])


def test_equal_shares_on_every_subcarrier_are_rzf_on_each():
    task, state, obs = several(action="structure", snr_db=3)
    by_structure = task.score(state, torch.ones(16, 6, 4, 2))["sum_rate"]
    narrow = make_task("precoding", scenario="cdl-c-32")
    one = {"csi": obs["csi"].flatten(0, 1), "noise_power": obs["noise_power"].repeat_interleave(6)}
    w = make_agent("rzf").act(narrow, one | {"tx_power": torch.full((96,), task.tx_power / 6)}).unflatten(0, (16, 6))
    expected = user_rates(state.h, w, state.noise_power).sum(-1).mean(-1)
    torch.testing.assert_close(by_structure, expected, rtol=1e-4, atol=1e-4)


def test_more_subcarriers_than_the_scenario_has_are_refused():
    with pytest.raises(ValueError, match=r"precoding: subcarriers: allowed is 1 to the scenario's num_subcarriers, 12, got 13"):
        make_task("precoding", num_subcarriers=12, subcarriers=13)
    with pytest.raises(ValueError, match=r"precoding: subcarriers: allowed is 1 to 4096, got 0"):
        make_task("precoding", subcarriers=0)


def test_gymnasium_sees_the_subcarriers_as_a_leading_axis():
    env = gym.make("wirelessgym/Precoding-v0", scenario="rayleigh-32", subcarriers=6)
    assert env.observation_space["csi"].shape == env.action_space.shape == (6, 4, 32, 2)
    obs, _ = env.reset(seed=1)
    assert env.observation_space.contains(obs)
    envs = gym.make_vec("wirelessgym/Precoding-v0", num_envs=2, scenario="rayleigh-32", subcarriers=6)
    both, _ = envs.reset(seed=1)
    assert (both["csi"][0] == obs["csi"]).all()
    _, reward, *_ = envs.step(both["csi"])
    assert reward[0] == pytest.approx(env.step(obs["csi"])[1])


@pytest.mark.parametrize("subcarriers", [1, 3])
def test_it_renders_beams_and_rates(subcarriers):
    task, state, obs, _ = first_step("rzf", episodes=2, subcarriers=subcarriers)
    image = task.render(state, make_agent("rzf").act(task, obs))
    assert image.shape == (300, 800, 3) and image.std() > 5


def test_negative_powers_and_regularisations_count_as_none():
    task = make_task("precoding", scenario="rayleigh-32", action="structure")
    state, _ = task.reset(range(8))
    action = torch.randn(8, 4, 2, generator=torch.Generator().manual_seed(1))
    negative, none = task.score(state, action), task.score(state, action.clamp_min(0))
    torch.testing.assert_close(negative["user_rate"], none["user_rate"])


def test_the_looser_bound_is_the_rate_of_users_that_do_not_disturb_each_other():
    task = make_task("precoding", scenario="rayleigh-32", num_users=1, tx_power_dbw=3)
    state, _ = task.reset(range(8))
    torch.testing.assert_close(task.interference_free_bound(state), task.bound(state))  # one user, nobody to disturb
    crowded = make_task("precoding", scenario="rayleigh-32", num_users=6)
    state, _ = crowded.reset(range(8))
    assert (crowded.interference_free_bound(state) > crowded.bound(state)).all()


def test_power_meant_for_absent_users_goes_to_those_that_take_part():
    task = make_task("precoding", scenario="rayleigh-32", action="structure", num_users=(1, 4))
    state, obs = task.reset(range(20))
    action = torch.rand(20, 4, 2, generator=torch.Generator().manual_seed(1)) + 0.1
    assert not bool(obs["mask"].all())
    meant, kept = task.score(state, action), task.score(state, action * obs["mask"][..., None])
    torch.testing.assert_close(meant["sum_rate"], kept["sum_rate"])
