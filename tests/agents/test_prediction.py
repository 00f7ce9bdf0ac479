import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import j0
from wirelessgym.agents._prediction import (
    ar_coefficients,
    ar_weights,
    clarke_correlation,
    estimated_noise_power,
    from_bins,
    lagged_products,
    to_bins,
    toeplitz,
)
from wirelessgym.agents.kalman import kalman_weights
from wirelessgym.agents.pad import prony_coefficients, strongest
from wirelessgym.agents.wiener import wiener_weights

from wirelessgym.registry import load_scenario, make_agent, make_task
from wirelessgym.tasks._geometry_bound import geometry_bound

PAST, FUTURE = 16, 4
AGENTS = ["hold", "wiener", "ar", "pvec", "pad", "kalman", "ar_beamdelay", "doppler_lmmse", "joint_doppler_lmmse"]


def window(columns=4, rows=4, num_subcarriers=12, **overrides):
    """What predictors read of a task, for channels made here with known statistics."""
    panel = {"panel": {"columns": columns, "rows": rows}}
    scenario = load_scenario("rayleigh-32", panel | {"num_subcarriers": num_subcarriers, "speed_kmh": 50.0} | overrides)
    action = SimpleNamespace(shape=(FUTURE, scenario.num_antennas, num_subcarriers))
    return SimpleNamespace(id="channel_prediction", scenario=scenario, action_fields=(action,))


def gaussian(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def clarke_channel(task, batch, seed=0):
    """Unit-power Gaussian channels with Clarke's correlation over time, independent between entries."""
    correlation = clarke(task)
    root = torch.linalg.cholesky(toeplitz(correlation) + 1e-9 * torch.eye(PAST + FUTURE)).to(torch.complex64)
    entries = task.action_fields[0].shape[1:]
    return (root @ gaussian(batch, PAST + FUTURE, math.prod(entries), seed=seed)).unflatten(2, entries)


def clarke(task):
    scenario = task.scenario
    doppler_hz = scenario.speed_mps[0] * scenario.carrier_frequency_hz / 299792458.0
    lags = torch.arange(PAST + FUTURE, dtype=torch.float64)
    return torch.from_numpy(j0((2 * math.pi * doppler_hz * scenario.slot_duration_s * lags).numpy()))


def ray_channel(task, batch, num_rays=6, seed=0):
    """Sums of plane waves with Gaussian amplitudes, arriving from all around, and their phase advances in cycles."""
    generator = torch.Generator().manual_seed(seed)
    scenario = task.scenario
    max_doppler = scenario.speed_mps[0] * scenario.carrier_frequency_hz / 299792458.0 * scenario.slot_duration_s
    columns, rows, tones = scenario.panel.columns, scenario.panel.rows, scenario.num_subcarriers
    draw = lambda: torch.rand(batch, num_rays, generator=generator, dtype=torch.float64)  # noqa: E731
    rays = {
        "power": torch.full((batch, num_rays), 1 / num_rays, dtype=torch.float64),
        "horizontal": draw() - 0.5,
        "vertical": draw() - 0.5,
        "doppler": max_doppler * torch.cos(2 * math.pi * draw()),
        "delay": -0.25 * draw(),
    }
    amplitude = gaussian(batch, num_rays, seed=seed + 1) / math.sqrt(num_rays)

    def phases(name, count):
        cycles = rays[name][..., None] * torch.arange(count, dtype=torch.float64)
        return torch.polar(torch.ones((), dtype=torch.float64), 2 * math.pi * cycles).to(torch.complex64)

    factors = phases("doppler", PAST + FUTURE), phases("horizontal", columns), phases("vertical", rows)
    channel = torch.einsum("br,brt,brc,brv,brf->btcvf", amplitude, *factors, phases("delay", tones))
    return channel.flatten(2, 3), rays


def observe(channel, noise_power, seed=99):
    noise = gaussian(len(channel), PAST, *channel.shape[2:], seed=seed) * math.sqrt(noise_power)
    return {"csi": channel[:, :PAST] + noise, "noise_power": torch.full((len(channel),), noise_power)}


def nmse(prediction, channel):
    target = channel[:, PAST:]
    return ((prediction - target).abs().square().sum() / target.abs().square().sum()).item()


@pytest.mark.parametrize(
    ("agent", "options"),
    [("ar", {}), ("pvec", {}), ("pvec", {"windows": "all"}), ("pad", {"energy": 1.0}), ("ar_beamdelay", {})],
)
@pytest.mark.parametrize("tones", [1, 3])
def test_few_tones_are_predicted_exactly_without_noise(agent, options, tones):
    task = window()
    doppler = torch.tensor([0.09, -0.06, 0.015])[:tones, None] * torch.arange(PAST + FUTURE)
    spatial = gaussian(2, tones, 16 * 12)
    channel = torch.einsum("bks,kt->bts", spatial, torch.polar(torch.ones(()), 2 * math.pi * doppler))
    channel = channel.unflatten(2, (16, 12))
    prediction = make_agent(agent, **options).act(task, observe(channel, 0.0))
    assert (prediction - channel[:, PAST:]).abs().max() < 1e-3 * channel.abs().square().mean().sqrt()


@pytest.mark.parametrize("speed_kmh", [20.0, 100.0])
def test_hold_errs_by_twice_the_lost_correlation_and_the_noise(speed_kmh):
    task = window(speed_kmh=speed_kmh)
    channel = clarke_channel(task, 64)
    prediction = make_agent("hold").act(task, observe(channel, 0.1))
    expected = (2 - 2 * clarke(task)[1 : FUTURE + 1]).mean().item() + 0.1
    assert nmse(prediction, channel) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("speed_kmh", [20.0, 100.0])
@pytest.mark.parametrize("noise_power", [0.01, 0.3])
def test_wiener_reaches_the_mmse_of_clarkes_process_and_hold_does_not(speed_kmh, noise_power):
    task = window(speed_kmh=speed_kmh)
    channel = clarke_channel(task, 64)
    obs = observe(channel, noise_power)
    covariance = toeplitz(clarke(task))
    past, cross = covariance[:PAST, :PAST] + noise_power * torch.eye(PAST), covariance[:PAST, PAST:]
    mmse = (1 - (cross * torch.linalg.solve(past, cross)).sum(0)).mean().item()
    error = nmse(make_agent("wiener").act(task, obs), channel)
    assert error == pytest.approx(mmse, rel=0.03)
    assert error < nmse(make_agent("hold").act(task, obs), channel)


@pytest.mark.parametrize(("agent", "expected_is_mmse"), [("hold", False), ("wiener", True)])
def test_closed_forms_hold_on_the_rayleigh_scenario(agent, expected_is_mmse):
    task = make_task("channel_prediction", "rayleigh-32", speed_kmh=60.0, snr_db=10.0, num_subcarriers=2)
    state, obs = task.reset(episodes=range(150), seed=7)
    _, step = task.step(state, make_agent(agent).act(task, obs))
    correlation = clarke(task)
    expected = (2 - 2 * correlation[1 : FUTURE + 1]).mean().item() + 0.1
    if expected_is_mmse:
        covariance = toeplitz(correlation)
        past, cross = covariance[:PAST, :PAST] + 0.1 * torch.eye(PAST), covariance[:PAST, PAST:]
        expected = (1 - (cross * torch.linalg.solve(past, cross)).sum(0)).mean().item()
    error = (step.metrics["squared_error"].sum() / step.metrics["target_energy"].sum()).item()
    assert error == pytest.approx(expected, rel=0.1)


def test_clarkes_correlation_is_the_bessel_function():
    task = window(speed_kmh=100.0)
    doppler_hz = torch.tensor(100 / 3.6 * 2.4e9 / 299792458.0, dtype=torch.float64)
    actual = clarke_correlation(doppler_hz, 0.5e-3, PAST + FUTURE)
    torch.testing.assert_close(actual, clarke(task), rtol=0, atol=1e-6)


def test_wiener_of_a_speed_range_uses_the_mean_correlation():
    task = window(speed_kmh=(10.0, 100.0))
    step = 2 * math.pi * task.scenario.carrier_frequency_hz / 299792458.0 * task.scenario.slot_duration_s
    low, high = task.scenario.speed_mps
    mean = [quad(lambda v, k=k: j0(step * v * k), low, high)[0] / (high - low) for k in range(PAST + FUTURE)]
    obs = observe(clarke_channel(window(), 3), 0.1)
    signal = obs["csi"].abs().square().mean((1, 2, 3)).double() - 0.1
    weights = wiener_weights(torch.tensor(mean, dtype=torch.float64), 0.1 / signal, PAST)
    expected = torch.einsum("blt,btnf->blnf", weights.to(torch.complex64), obs["csi"])
    torch.testing.assert_close(make_agent("wiener").act(task, obs), expected, rtol=1e-3, atol=1e-3)


def test_wiener_told_the_speed_is_wiener_in_a_scenario_of_that_speed():
    obs = observe(clarke_channel(window(), 3), 0.1)
    told = make_agent("wiener", speed_kmh=50.0).act(window(speed_kmh=(10.0, 100.0)), obs)
    torch.testing.assert_close(told, make_agent("wiener").act(window(speed_kmh=50.0), obs))


@pytest.mark.parametrize("agent", AGENTS)
@settings(max_examples=5, deadline=None)
@given(scale=st.floats(1e-3, 1e3), angle=st.floats(0, 6))
def test_a_scaled_and_rotated_channel_has_the_scaled_and_rotated_prediction(agent, scale, angle):
    task = window(num_subcarriers=8)
    obs = observe(ray_channel(task, 2)[0], 0.1)
    factor = scale * complex(math.cos(angle), math.sin(angle))
    turned = {"csi": obs["csi"] * factor, "noise_power": obs["noise_power"] * scale**2}
    predictor = make_agent(agent)
    torch.testing.assert_close(predictor.act(task, turned) / factor, predictor.act(task, obs), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("agent", ["hold", "wiener", "ar", "pvec", "kalman"])
def test_the_order_of_antennas_is_immaterial_without_beams(agent):
    task = window()
    obs = observe(ray_channel(task, 2)[0], 0.1)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(3))
    predictor = make_agent(agent)
    shuffled = predictor.act(task, obs | {"csi": obs["csi"][:, :, order]})
    torch.testing.assert_close(shuffled, predictor.act(task, obs)[:, :, order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("agent", AGENTS)
def test_an_episodes_prediction_does_not_depend_on_its_neighbours(agent):
    task = window()
    obs = observe(torch.cat([ray_channel(task, 4)[0], clarke_channel(task, 3)]), 0.1)
    obs["noise_power"] = torch.linspace(0.02, 0.2, 7)
    predictor = make_agent(agent)
    together = predictor.act(task, obs)
    alone = torch.cat([predictor.act(task, {k: v[i : i + 1] for k, v in obs.items()}) for i in range(7)])
    assert together.shape == (7, FUTURE, 16, 12)
    assert together.dtype == torch.complex64
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("agent", AGENTS)
def test_prediction_improves_with_snr_and_never_beats_known_geometry(agent):
    task = window()
    channel, rays = ray_channel(task, 32)
    panel = task.scenario.panel
    sizes = {"columns": panel.columns, "rows": panel.rows, "num_past": PAST, "num_future": FUTURE}
    errors = []
    for noise_power in (1.0, 0.1, 0.01):
        obs = observe(channel, noise_power)
        errors.append(nmse(make_agent(agent).act(task, obs), channel))
        error, energy = geometry_bound(**rays, **sizes, num_subcarriers=12, noise_power=obs["noise_power"])
        assert errors[-1] > (error.sum() / energy.sum()).item()
    assert errors[0] > errors[1] > errors[2]


def test_few_rays_are_predicted_better_in_beams_and_delays_than_antenna_by_antenna():
    task = window(columns=8, rows=4, num_subcarriers=24)
    channel, _ = ray_channel(task, 16, num_rays=20)
    obs = observe(channel, 0.1)
    errors = {agent: nmse(make_agent(agent).act(task, obs), channel) for agent in AGENTS}
    sparse = {agent: errors.pop(agent) for agent in ("pad", "ar_beamdelay", "doppler_lmmse", "joint_doppler_lmmse")}
    assert max(sparse.values()) < 0.8 * min(errors.values())
    assert max(errors, key=errors.__getitem__) == "hold"


def test_the_beam_delay_autoregression_copes_with_a_hidden_noise_power():
    task = window(columns=8, rows=4, num_subcarriers=24)
    channel, _ = ray_channel(task, 16)
    obs = observe(channel, 0.1)
    told = nmse(make_agent("ar_beamdelay").act(task, obs), channel)
    guessed = nmse(make_agent("ar_beamdelay").act(task, {"csi": obs["csi"]}), channel)
    assert guessed < 1.2 * told
    assert guessed < 0.5 * nmse(make_agent("ar").act(task, {"csi": obs["csi"]}), channel)


def test_denoising_and_all_windows_steady_the_vector_prony_method():
    task = window(columns=8, rows=4, num_subcarriers=24)
    channel, _ = ray_channel(task, 16)
    obs = observe(channel, 0.1)
    published = nmse(make_agent("pvec").act(task, obs), channel)
    steadied = nmse(make_agent("pvec", windows="all", denoise=True).act(task, obs), channel)
    assert steadied < 0.8 * published


def test_noise_power_is_read_off_empty_bins():
    task = window(columns=8, rows=4, num_subcarriers=48)
    power = torch.tensor([0.01, 4.0])
    csi = gaussian(2, PAST, 32, 48) * power.sqrt()[:, None, None, None]
    estimate = estimated_noise_power(to_bins(task, csi))
    torch.testing.assert_close(estimate, power.double(), rtol=0.03, atol=0)


def test_beams_and_delays_keep_energy_and_come_back():
    task = window(columns=8, rows=2, num_subcarriers=6)
    csi = gaussian(2, PAST, 16, 6)
    bins = to_bins(task, csi)
    torch.testing.assert_close(bins.abs().square().sum(), csi.abs().square().sum())
    torch.testing.assert_close(from_bins(task, bins), csi)


def test_a_ray_on_the_grid_fills_one_bin():
    task = window(columns=8, rows=2, num_subcarriers=6)
    phases = lambda cycles, count: torch.polar(torch.ones(()), 2 * math.pi * cycles * torch.arange(count))  # noqa: E731
    antennas = (phases(3 / 8, 8)[:, None] * phases(1 / 2, 2)).flatten()
    bins = to_bins(task, (antennas[:, None] * phases(-2 / 6, 6))[None, None])
    assert bins.abs().square().flatten().argmax() == (3 * 2 + 1) * 6 + 2
    torch.testing.assert_close(bins.abs().square().max(), torch.tensor(8.0 * 2 * 6))


def test_pooled_least_squares_is_the_regression_written_out():
    series = gaussian(3, PAST, 20)
    rows = torch.stack([series[:, t : t + 5] for t in range(PAST - 4)], 1).transpose(2, 3).flatten(1, 2)
    expected = torch.linalg.lstsq(rows[..., :4], rows[..., 4:]).solution.squeeze(-1)
    actual = ar_coefficients(lagged_products(series), 4)
    torch.testing.assert_close(actual.to(torch.complex64), expected, rtol=1e-3, atol=1e-4)


def test_vector_prony_is_the_pseudo_inverse_of_the_last_window():
    task = window()
    csi = gaussian(2, PAST, 16, 12)
    history = csi.flatten(2).mT
    steps = [history]
    coefficients = torch.linalg.pinv(history[..., -9:-1]) @ history[..., -1:]
    for _ in range(FUTURE):
        steps.append(torch.cat(steps, -1)[..., -8:] @ coefficients)
    expected = torch.cat(steps[1:], -1).mT.unflatten(2, (16, 12))
    torch.testing.assert_close(make_agent("pvec").act(task, {"csi": csi}), expected, rtol=1e-3, atol=1e-3)


def test_prony_per_bin_is_the_pseudo_inverse_of_each_bins_hankel_matrix():
    series = gaussian(2, PAST, 7)
    hankel = series.mT.unfold(-1, 4, 1)
    expected = (torch.linalg.pinv(hankel[..., :3]) @ hankel[..., 3:]).squeeze(-1).mT
    torch.testing.assert_close(prony_coefficients(series, 3, 0.0), expected, rtol=1e-3, atol=1e-4)


def test_the_strongest_bins_are_the_fewest_that_hold_the_share():
    energies = torch.tensor([[1.0, 6.0, 0.5, 2.5], [0.0, 0.0, 0.0, 1.0]])
    assert strongest(energies, 0.85).tolist() == [[False, True, False, True], [False, False, False, True]]
    assert strongest(energies, 0.86).tolist() == [[True, True, False, True], [False, False, False, True]]


def test_weights_run_the_recursion_on_its_own_output():
    coefficients = torch.tensor([-0.81, 1.2], dtype=torch.complex128)
    past = [1.0, 2.0, 3.0]
    for _ in range(FUTURE):
        past.append(-0.81 * past[-2] + 1.2 * past[-1])
    forecast = ar_weights(coefficients, 3, FUTURE) @ torch.tensor(past[:3], dtype=torch.complex128)
    torch.testing.assert_close(forecast.real, torch.tensor(past[3:], dtype=torch.float64))


def test_the_kalman_forecast_of_an_ar1_process_settles_to_riccatis_solution():
    root, noise = 0.95 * complex(math.cos(0.3), math.sin(0.3)), 0.2
    weights = kalman_weights(
        torch.tensor([[1.0, root]], dtype=torch.complex128), torch.tensor([noise], dtype=torch.float64), 200, FUTURE
    )[0]
    shrink, drive = abs(root) ** 2, 1 - abs(root) ** 2
    # Predicted variance P solves P = shrink * P s / (P + s) + drive.
    half = (drive - noise * (1 - shrink)) / 2
    variance = half + math.sqrt(half**2 + drive * noise)
    gain = variance / (variance + noise)
    age = torch.arange(199, -1, -1, dtype=torch.float64)
    ahead = torch.arange(1, FUTURE + 1, dtype=torch.float64)
    root = torch.tensor(root)
    expected = root ** ahead[:, None] * gain * (root * (1 - gain)) ** age
    torch.testing.assert_close(weights, expected.to(torch.complex128), rtol=1e-6, atol=1e-7)


def autoregressive_covariance(*poles):
    """E[x x^H] over past and future slots of the unit-power autoregressive process with these poles."""
    impulse = torch.zeros(2000, dtype=torch.complex128)
    impulse[0] = 1
    for pole in poles:
        for n in range(1, 2000):
            impulse[n] = impulse[n] + pole * impulse[n - 1]
    lags = [(impulse[lag:] * impulse[: 2000 - lag].conj()).sum() for lag in range(PAST + FUTURE)]
    return toeplitz(torch.stack(lags) / lags[0].real).mT


def linear_mmse(covariance, noise_power):
    """Weights of the past slots in the linear MMSE forecast, and its error per slot."""
    loaded = covariance[:PAST, :PAST] + noise_power * torch.eye(PAST)
    cross = covariance[PAST:, :PAST]
    weights = torch.linalg.solve(loaded.mT, cross.mT).mT
    return weights, 1 - (weights * cross.conj()).sum(-1).real


def test_the_kalman_forecast_is_the_linear_mmse_predictor_of_an_autoregressive_process():
    covariance = autoregressive_covariance(0.95, 0.9j, 0.8)
    noise = torch.tensor([0.3], dtype=torch.float64)
    actual = kalman_weights(covariance[:4, 0][None], noise, PAST, FUTURE)[0]
    torch.testing.assert_close(actual, linear_mmse(covariance, 0.3)[0], rtol=1e-6, atol=1e-8)


def test_kalman_learns_an_autoregressive_process_from_its_noisy_past():
    task = window(num_subcarriers=48)
    covariance = autoregressive_covariance(0.9, 0.5j)
    root = torch.linalg.cholesky(covariance).to(torch.complex64)
    channel = (root @ gaussian(16, PAST + FUTURE, 16 * 48)).unflatten(2, (16, 48))
    prediction = make_agent("kalman", order=2).act(task, observe(channel, 0.3))
    assert nmse(prediction, channel) == pytest.approx(linear_mmse(covariance, 0.3)[1].mean().item(), rel=0.02)


def test_kalman_stays_calm_where_all_is_noise():
    task = window()
    csi = gaussian(4, PAST, 16, 12)
    prediction = make_agent("kalman").act(task, {"csi": csi, "noise_power": torch.full((4,), 1.2)})
    assert prediction.abs().square().mean() < 0.1


def test_the_autoregression_is_least_squares_loaded_by_a_share_of_the_noise_it_sees():
    task, order, noise = window(columns=2, rows=1, num_subcarriers=3), 4, 0.3
    csi = observe(clarke_channel(task, 2), noise)["csi"]
    prediction = make_agent("ar", order=order, loading=0.2).act(task, {"csi": csi, "noise_power": torch.full((2,), noise)})
    for episode in range(2):
        series = csi[episode].flatten(1).to(torch.complex128)  # (past, entries)
        past = torch.cat([series[order - 1 - lag : PAST - 1 - lag].reshape(-1, 1) for lag in range(order)], 1)
        wanted = series[order:].reshape(-1)
        loaded = past.mH @ past + 0.2 * noise * len(past) * torch.eye(order)
        coefficients = torch.linalg.solve(loaded, past.mH @ wanted)
        for _ in range(FUTURE):
            newest = series[-order:].flip(0)
            series = torch.cat([series, (coefficients @ newest)[None]])
        expected = series[PAST:].view(FUTURE, 2, 3).to(torch.complex64)
        torch.testing.assert_close(prediction[episode], expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("agent", AGENTS)
def test_gradients_pass_to_the_observation(agent):
    task = window(num_subcarriers=6)
    obs = observe(clarke_channel(task, 2), 0.1)
    obs["csi"].requires_grad_()
    make_agent(agent).act(task, obs).abs().square().sum().backward()
    assert obs["csi"].grad.isfinite().all()
    assert obs["csi"].grad.abs().sum() > 0


@pytest.mark.parametrize("agent", ["wiener", "kalman"])
def test_predictors_that_need_the_noise_power_ask_for_it(agent):
    task = window()
    obs = observe(clarke_channel(task, 2), 0.1)
    with pytest.raises(ValueError, match=f"{agent} needs the noise power: .* option noise_power is None"):
        make_agent(agent).act(task, {"csi": obs["csi"]})
    given_one = make_agent(agent, noise_power=0.1).act(task, {"csi": obs["csi"]})
    torch.testing.assert_close(given_one, make_agent(agent).act(task, obs))
    with pytest.raises(ValueError, match="noise_power: expected at least 0 W, got -1"):
        make_agent(agent, noise_power=-1.0).act(task, {"csi": obs["csi"]})


@pytest.mark.parametrize("agent", ["ar", "pvec", "pad", "kalman", "ar_beamdelay"])
@pytest.mark.parametrize("order", [0, PAST])
def test_an_order_without_a_slot_to_fit_is_refused(agent, order):
    task = window()
    with pytest.raises(ValueError, match=f"order: expected 1 to 15 for 16 past slots, got {order}"):
        make_agent(agent, order=order).act(task, observe(clarke_channel(task, 1), 0.1))


@pytest.mark.parametrize(
    ("agent", "options", "message"),
    [
        ("wiener", {"speed_kmh": -3.0}, "speed_kmh: expected at least 0, got -3"),
        ("pvec", {"windows": "some"}, "windows: expected 'last' or 'all', got 'some'"),
        ("pad", {"energy": 0.0}, "energy: expected more than 0 and at most 1, got 0"),
        ("kalman", {"floor": 0.0}, "floor: expected more than 0, got 0"),
        ("doppler_lmmse", {"shifted_axes": 4}, "shifted_axes: expected 0 to 3, got 4"),
        ("joint_doppler_lmmse", {"waves": 0}, "waves: expected at least 1, got 0"),
        ("joint_doppler_lmmse", {"turns": -1}, "turns: expected at least 0, got -1"),
        ("joint_doppler_lmmse", {"false_alarms": 0.0}, "false_alarms: expected more than 0, got 0"),
    ],
)
def test_options_out_of_range_are_refused(agent, options, message):
    task = window()
    with pytest.raises(ValueError, match=message):
        make_agent(agent, **options).act(task, observe(clarke_channel(task, 1), 0.1))


@pytest.mark.parametrize("agent", AGENTS)
def test_silence_is_predicted_to_last(agent):
    task = window()
    silent = {"csi": torch.zeros(2, PAST, 16, 12, dtype=torch.complex64), "noise_power": torch.zeros(2)}
    assert (make_agent(agent).act(task, silent) == 0).all()
