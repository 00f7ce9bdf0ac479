"""The precoders against closed forms, each other, Sionna, and the symmetries of the problem."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wirelessgym.capacity import dpc_sum_capacity, structure_of, structured_precoder, unit_rows
from wirelessgym.metrics import user_rates
from wirelessgym.registry import make_agent, make_task
from wirelessgym.task import Task

LINEAR = ("mrt", "zf", "zf_waterfilling", "rzf", "wmmse")
ROBUST = ("robust_rzf", "robust_wmmse", "dictionary_wmmse")
ALL = (*LINEAR, *ROBUST, "random")


@pytest.fixture(scope="module")
def task() -> Task:
    """The precoding task on 4 x 8 antennas; only its settings are read."""
    return make_task("precoding", scenario="rayleigh-32", num_users=8)


def episodes(
    batch: int, users: int, antennas: int, snr_db: float = 10.0, dtype: torch.dtype = torch.complex64, seed: int = 1
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    csi = torch.randn(batch, users, antennas, dtype=dtype, generator=generator)
    power = torch.full((batch,), 2.0, dtype=csi.real.dtype)
    return {"csi": csi, "noise_power": power * 10 ** (-snr_db / 10), "tx_power": power}


def sum_rate(obs: dict[str, Tensor], precoder: Tensor, h: Tensor | None = None) -> Tensor:
    return user_rates(obs["csi"] if h is None else h, precoder, obs["noise_power"]).sum(-1)


def received_amplitudes(obs: dict[str, Tensor], precoder: Tensor) -> Tensor:
    return (obs["csi"].conj() @ precoder.mT).abs()


@pytest.mark.parametrize("name", ALL)
def test_every_precoder_spends_exactly_the_power_budget(name: str, task: Task) -> None:
    obs = episodes(16, 8, 32) | {"csi_noise_power": torch.full((16,), 0.1)}
    precoder = make_agent(name).act(task, obs)
    assert precoder.shape == (16, 8, 32)
    assert precoder.dtype == torch.complex64
    assert torch.allclose(precoder.abs().square().sum((-2, -1)), obs["tx_power"], rtol=1e-5)


@pytest.mark.parametrize("name", ["zf", "zf_waterfilling"])
def test_zero_forcing_leaks_nothing(name: str, task: Task) -> None:
    obs = episodes(32, 6, 12, dtype=torch.complex128)
    amplitudes = received_amplitudes(obs, make_agent(name).act(task, obs))
    wanted = torch.diag_embed(amplitudes.diagonal(dim1=-2, dim2=-1))
    assert (amplitudes - wanted).max() < 1e-10 * amplitudes.max()


@pytest.mark.parametrize("name", ["zf", "zf_waterfilling"])
def test_zero_forcing_refuses_more_users_than_antennas(name: str, task: Task) -> None:
    with pytest.raises(ValueError, match="zero-forcing needs users <= antennas, got 5 users on 4 antennas"):
        make_agent(name).act(task, episodes(2, 5, 4))
    with pytest.raises(ValueError, match="got 5 users on 4 antennas"):
        make_agent("rzf", regulariser=0.0).act(task, episodes(2, 5, 4))


@pytest.mark.parametrize("name", ["zf", "zf_waterfilling"])
def test_zero_forcing_serves_as_many_users_as_antennas(name: str, task: Task) -> None:
    obs = episodes(4, 4, 4, dtype=torch.complex128)
    amplitudes = received_amplitudes(obs, make_agent(name).act(task, obs))
    wanted = torch.diag_embed(amplitudes.diagonal(dim1=-2, dim2=-1))
    assert (amplitudes - wanted).max() < 1e-8 * amplitudes.max()


def test_zero_forcing_fills_its_interference_free_channels_like_water(task: Task) -> None:
    obs = episodes(16, 6, 8, snr_db=0, dtype=torch.complex128)
    precoder = make_agent("zf_waterfilling").act(task, obs)
    power = precoder.abs().square().sum(-1)
    # After zero-forcing user k hears a channel of gain 1 / [(H H^H)^-1]_kk.
    floor = obs["noise_power"][:, None] * torch.linalg.inv(obs["csi"] @ obs["csi"].mH).diagonal(dim1=-2, dim2=-1).real
    level = (power + floor).masked_fill(power == 0, 0).amax(-1, keepdim=True)
    assert bool((power == 0).any()) and bool((power > 0).any())
    assert torch.allclose((power + floor)[power > 0], level.expand_as(power)[power > 0])
    assert bool((floor >= level)[power == 0].all())


@pytest.mark.parametrize("name", ["mrt", "rzf", "wmmse", "random"])
def test_other_precoders_serve_more_users_than_antennas(name: str, task: Task) -> None:
    obs = episodes(4, 6, 3)
    precoder = make_agent(name).act(task, obs)
    assert bool(torch.view_as_real(precoder).isfinite().all())
    assert torch.allclose(precoder.abs().square().sum((-2, -1)), obs["tx_power"], rtol=1e-5)


def test_rzf_tends_to_zero_forcing_as_noise_vanishes(task: Task) -> None:
    quiet = episodes(16, 4, 8, snr_db=120, dtype=torch.complex128)
    assert torch.allclose(make_agent("rzf").act(task, quiet), make_agent("zf").act(task, quiet), atol=1e-8)


def test_rzf_tends_to_maximum_ratio_transmission_as_noise_grows(task: Task) -> None:
    loud = episodes(16, 4, 8, snr_db=-120, dtype=torch.complex128)
    assert torch.allclose(make_agent("rzf").act(task, loud), make_agent("mrt").act(task, loud), atol=1e-8)


def test_rzf_is_sionnas_up_to_power(task: Task) -> None:
    from sionna.phy.mimo import rzf_precoding_matrix

    obs = episodes(16, 4, 8)
    # Sionna's channel rows are h_k^H, its precoding vectors are columns of unit norm.
    theirs = rzf_precoding_matrix(obs["csi"].conj(), 4 * obs["noise_power"] / obs["tx_power"]).mT
    assert torch.allclose(unit_rows(make_agent("rzf").act(task, obs)), theirs, atol=1e-5)


def test_rzf_refuses_a_negative_regulariser() -> None:
    with pytest.raises(ValueError, match="regulariser: expected a number >= 0, got -1"):
        make_agent("rzf", regulariser=-1.0)


def test_water_filling_over_zero_forcing_beats_equal_power(task: Task) -> None:
    obs = episodes(64, 8, 8, snr_db=5)
    filled = sum_rate(obs, make_agent("zf_waterfilling").act(task, obs))
    assert bool((filled >= sum_rate(obs, make_agent("zf").act(task, obs)) - 1e-4).all())


@pytest.mark.parametrize(("users", "antennas"), [(4, 32), (8, 16), (8, 8)])
@pytest.mark.parametrize("snr_db", [0, 10, 20])
def test_zero_forcing_then_wmmse_then_dirty_paper_coding(users: int, antennas: int, snr_db: float, task: Task) -> None:
    obs = episodes(64, users, antennas, snr_db=snr_db, dtype=torch.complex128)
    rates = {name: sum_rate(obs, make_agent(name).act(task, obs)) for name in ("zf", "rzf", "wmmse")}
    bound = dpc_sum_capacity(obs["csi"], obs["noise_power"], obs["tx_power"])
    assert bool((rates["rzf"] <= rates["wmmse"] + 1e-9).all())
    assert bool((rates["zf"] <= rates["wmmse"]).all())
    assert bool((rates["wmmse"] <= bound).all())


@pytest.mark.parametrize("initialisation", ["rzf", "mrt", "random"])
def test_wmmse_never_loses_rate_from_one_iteration_to_the_next(initialisation: str, task: Task) -> None:
    obs = episodes(16, 6, 6, dtype=torch.complex128)
    counts = (1, 2, 3, 5, 10, 20, 50, 100)
    agents = [make_agent("wmmse", iterations=n, initialisation=initialisation) for n in counts]
    rates = [sum_rate(obs, agent.act(task, obs)) for agent in agents]
    assert all(bool((later >= earlier - 1e-9).all()) for earlier, later in pairwise(rates))
    assert (rates[-1] - rates[0]).mean() > 0.1


def test_wmmse_is_the_published_iteration_written_over_antennas(task: Task) -> None:
    obs = episodes(4, 4, 6, dtype=torch.complex128)
    power, noise = float(obs["tx_power"][0]), float(obs["noise_power"][0])
    precoder = make_agent("rzf").act(task, obs)
    for _ in range(7):
        gains = obs["csi"].conj() @ precoder.mT
        total = gains.abs().square().sum(-1) + noise
        own = gains.diagonal(dim1=-2, dim2=-1)
        filters, weights = own / total, 1 / (1 - own.abs().square() / total)
        prices = weights * filters.abs().square()
        inner = torch.einsum("bk,bkm,bkn->bmn", prices.to(obs["csi"].dtype), obs["csi"], obs["csi"].conj())
        inner = inner + (noise / power * prices.sum(-1))[:, None, None] * torch.eye(6)
        precoder = torch.linalg.solve(inner, (obs["csi"] * (filters * weights)[..., None]).mT).mT
        precoder = precoder * (power / precoder.abs().square().sum((-2, -1), keepdim=True)).sqrt()
    assert torch.allclose(make_agent("wmmse", iterations=7).act(task, obs), precoder, atol=1e-10)


def test_uplink_and_downlink_ratios_coincide_where_wmmse_comes_to_rest(task: Task) -> None:
    obs = episodes(16, 4, 8, dtype=torch.complex128)
    agent = make_agent("wmmse", iterations=2000)
    directions, (_, uplink_power) = unit_rows(agent.act(task, obs)), agent.structure(obs)
    noise = obs["noise_power"][:, None]
    downlink = 2 ** user_rates(obs["csi"], agent.act(task, obs), obs["noise_power"]) - 1
    # Uplink: user j sends with power lambda_j, the base station listens for user k along user k's beam.
    heard = received_amplitudes(obs, directions).square().mT * uplink_power[:, None, :]
    signal = heard.diagonal(dim1=-2, dim2=-1)
    uplink = signal / (heard.sum(-1) - signal + noise)
    served = downlink > 1e-3
    assert torch.allclose(uplink[served], downlink[served], rtol=1e-6)
    assert torch.allclose(uplink_power.sum(-1), obs["tx_power"])


def test_two_numbers_per_user_give_the_wmmse_precoder_back(task: Task) -> None:
    obs = episodes(32, 4, 16, dtype=torch.complex128)
    agent = make_agent("wmmse", iterations=1000)
    precoder = agent.act(task, obs)
    powers = obs["noise_power"], obs["tx_power"]
    for structure in (agent.structure(obs), structure_of(obs["csi"], precoder, *powers)):
        assert (structured_precoder(obs["csi"], *structure, *powers) - precoder).abs().max() < 1e-6


def test_structure_as_the_action_is_scored_like_the_precoder() -> None:
    plain = make_task("precoding", scenario="rayleigh-32", num_users=4, snr_db=0.0)
    structured = make_task("precoding", scenario="rayleigh-32", num_users=4, snr_db=0.0, action="structure")
    state, obs = plain.reset(range(4), seed=3)
    for name in ("rzf", "wmmse"):
        expected = plain.step(state, make_agent(name).act(plain, obs))[1].reward
        found = structured.step(structured.reset(range(4), seed=3)[0], make_agent(name).act(structured, obs))[1].reward
        assert torch.allclose(found, expected, rtol=1e-4)


def test_wmmse_stops_after_the_first_iteration_that_gains_less_than_the_tolerance(task: Task) -> None:
    obs = episodes(12, 6, 8, dtype=torch.complex128)
    played = torch.stack([make_agent("wmmse", iterations=count).act(task, obs) for count in range(1, 41)])
    # The rate before the first iteration is that of regularised zero-forcing with equal power.
    rates = torch.stack([sum_rate(obs, w) for w in (make_agent("rzf").act(task, obs), *played)])
    for tolerance in (0.01, 0.003):
        little = (rates[1:] - rates[:-1]) <= tolerance * rates[:-1]
        last = little.int().argmax(0)
        assert bool(little.any(0).all()) and len(set(last.tolist())) > 1
        stopped = make_agent("wmmse", tolerance=tolerance).act(task, obs)
        assert torch.allclose(stopped, played[last, torch.arange(12)], atol=1e-9)


def test_wmmse_starts_where_it_is_told_and_only_a_random_start_has_a_seed(task: Task) -> None:
    obs = episodes(4, 4, 6)

    def first(initialisation: str, seed: int) -> Tensor:
        return make_agent("wmmse", initialisation=initialisation, seed=seed, iterations=1).act(task, obs)

    starts = {name: first(name, 0) for name in ("rzf", "mrt", "random")}
    for one, other in (("rzf", "mrt"), ("mrt", "random"), ("random", "rzf")):
        assert not torch.allclose(starts[one], starts[other], atol=1e-3)
    for name, start in starts.items():
        assert torch.equal(start, first(name, 1)) == (name != "random")


def test_wmmse_keeps_the_best_of_several_starts_row_by_row(task: Task) -> None:
    obs = episodes(24, 6, 6, snr_db=20, dtype=torch.complex128)
    one = [sum_rate(obs, make_agent("wmmse", initialisation=start, iterations=30).act(task, obs)) for start in ("rzf", "mrt")]
    best = {n: sum_rate(obs, make_agent("wmmse", starts=n, iterations=30).act(task, obs)) for n in (1, 2, 5)}
    assert torch.equal(best[1], one[0])
    assert torch.allclose(best[2], torch.maximum(*one))
    assert bool((best[5] >= best[2] - 1e-9).all())
    assert (best[5] - best[1]).mean() > 0.05
    agent = make_agent("wmmse", starts=2, iterations=30)
    assert torch.allclose(agent.act(task, {k: v[3:4] for k, v in obs.items()}), agent.act(task, obs)[3:4])


def test_wmmse_stops_early_by_row_and_loses_little(task: Task) -> None:
    obs = episodes(16, 6, 8)
    full = sum_rate(obs, make_agent("wmmse").act(task, obs))
    early = make_agent("wmmse", tolerance=1e-3)
    together = early.act(task, obs)
    assert bool((sum_rate(obs, together) >= full * 0.95).all())
    assert not torch.allclose(together, make_agent("wmmse").act(task, obs), atol=1e-4)
    alone = torch.cat([early.act(task, {key: value[row : row + 1] for key, value in obs.items()}) for row in range(16)])
    assert torch.allclose(alone, together, atol=1e-4)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"iterations": 0}, "iterations: expected an integer >= 1, got 0"),
        ({"initialisation": "zf"}, "initialisation: expected one of rzf, mrt, random, got 'zf'"),
        ({"tolerance": 1.0}, r"tolerance: expected a number in \[0, 1\), got 1.0"),
        ({"starts": 0}, "starts: expected an integer >= 1, got 0"),
    ],
)
def test_wmmse_refuses_options_out_of_range(option: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_agent("wmmse", **option)


@pytest.mark.parametrize("name", [*LINEAR, *ROBUST])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31), angle=st.floats(0, 2 * math.pi))
def test_rates_ignore_the_order_of_antennas_and_the_phase_of_users(name: str, task: Task, seed: int, angle: float) -> None:
    obs = episodes(4, 3, 32, dtype=torch.complex128, seed=seed)
    shuffle = torch.randperm(32, generator=torch.Generator().manual_seed(seed))
    turned = torch.polar(torch.ones(3, 1, dtype=torch.float64), angle * torch.arange(1, 4, dtype=torch.float64)[:, None])
    other = obs | {"csi": obs["csi"][..., shuffle] * turned}
    agent = make_agent(name)
    rates = [user_rates(o["csi"], agent.act(task, o), o["noise_power"]) for o in (obs, other)]
    assert torch.allclose(rates[0], rates[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [*LINEAR, *ROBUST])
def test_masked_users_get_no_power_and_disturb_nobody(name: str, task: Task) -> None:
    obs = episodes(8, 3, 32) | {"csi_noise_power": torch.full((8,), 0.05)}
    blank = torch.zeros_like(obs["csi"][:, :1])
    padded = obs | {"csi": torch.cat([obs["csi"][:, :2], blank, obs["csi"][:, 2:], blank], 1)}
    precoder = make_agent(name).act(task, padded)
    assert bool((precoder[:, [2, 4]] == 0).all())
    assert torch.allclose(precoder[:, [0, 1, 3]], make_agent(name).act(task, obs), atol=1e-4)


@pytest.mark.parametrize("name", [*LINEAR, *ROBUST])
def test_a_row_does_not_depend_on_its_neighbours(name: str, task: Task) -> None:
    obs = episodes(6, 4, 32) | {"csi_noise_power": torch.full((6,), 0.05)}
    together = make_agent(name).act(task, obs)
    alone = torch.cat([make_agent(name).act(task, {k: v[row : row + 1] for k, v in obs.items()}) for row in range(6)])
    assert torch.allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize("name", [*LINEAR, *ROBUST])
def test_gradients_reach_the_channel(name: str, task: Task) -> None:
    obs = episodes(2, 3, 32) | {"csi_noise_power": torch.full((2,), 0.05)}
    obs["csi"][0, 1] = 0
    obs["csi"].requires_grad_()
    sum_rate(obs, make_agent(name).act(task, obs)).sum().backward()
    gradient = obs["csi"].grad
    assert gradient is not None
    assert bool(torch.view_as_real(gradient).isfinite().all())
    assert gradient.abs().max() > 0


def sparse_in_beams(batch: int, users: int) -> Tensor:
    """Channels on 4 x 8 antennas, each the sum of three plane waves, mean power 1 per antenna."""
    generator = torch.Generator().manual_seed(7)
    shape = (batch, users, 3)
    turn = 2 * math.pi * torch.rand(2, *shape, 1, generator=generator)
    column, row = torch.arange(32) // 4, torch.arange(32) % 4
    waves = torch.polar(torch.ones(()), turn[0] * column + turn[1] * row)
    return (torch.randn(*shape, 1, dtype=torch.complex64, generator=generator) * waves).sum(-2) / math.sqrt(3)


def test_denoising_in_beams_helps_wmmse_under_noisy_knowledge(task: Task) -> None:
    h = sparse_in_beams(128, 8)
    error = torch.full((128,), 0.1)
    noise = torch.randn(h.shape, dtype=h.dtype, generator=torch.Generator().manual_seed(8)) * math.sqrt(0.1)
    obs = episodes(128, 8, 32) | {"csi": h + noise, "csi_noise_power": error}
    plain, robust = (sum_rate(obs, make_agent(name).act(task, obs), h) for name in ("wmmse", "robust_wmmse"))
    difference = robust - plain
    assert difference.mean() > 1.0
    assert difference.mean() > 5 * difference.std() / math.sqrt(128)


def noisy(h: Tensor, variance: float, seed: int = 8) -> dict[str, Tensor]:
    """What is seen of channels h with errors of that variance, at 10 dB."""
    generator = torch.Generator().manual_seed(seed)
    error = torch.randn(h.shape, dtype=h.dtype, generator=generator) * math.sqrt(variance)
    seen = {"csi": h + error, "csi_noise_power": torch.full((len(h),), variance)}
    return episodes(len(h), h.shape[1], h.shape[2]) | seen


@pytest.mark.parametrize("variance", [0.1, 1.0])
@pytest.mark.parametrize("name", ["robust_wmmse", "robust_rzf", "dictionary_wmmse"])
def test_where_beams_are_sparse_robust_precoders_beat_those_that_trust_the_estimate(
    name: str, variance: float, task: Task
) -> None:
    h = sparse_in_beams(64, 8)
    obs = noisy(h, variance)
    robust, trusting = (
        sum_rate(obs, make_agent(agent).act(task, obs), h)
        for agent in (name, name.removeprefix("robust_").replace("dictionary_", ""))
    )
    assert (robust - trusting).mean() > 3 * (robust - trusting).std() / math.sqrt(64)


@pytest.mark.parametrize("variance", [0.1, 1.0])
def test_where_beams_are_not_sparse_robust_wmmse_does_not_lose_to_rzf(variance: float, task: Task) -> None:
    h = episodes(256, 8, 32, seed=3)["csi"]
    obs = noisy(h, variance)
    robust, plain = (sum_rate(obs, make_agent(name).act(task, obs), h) for name in ("robust_wmmse", "rzf"))
    assert (robust - plain).mean() > 0


def test_whether_beams_are_sparse_is_told_from_the_observation(task: Task) -> None:
    from wirelessgym.agents.robust_wmmse import wiener

    from wirelessgym.arrays import to_beams

    for h, expected in ((sparse_in_beams(64, 8), 1.0), (episodes(64, 8, 32)["csi"], 0.0)):
        for variance in (0.03, 0.3, 1.0):
            obs = noisy(h, variance)
            beams = to_beams(obs["csi"], 4, 8)
            _, residual, sparse = wiener(beams, obs["csi_noise_power"], torch.ones(64, 8, dtype=torch.bool))
            assert (sparse.mean() - expected).abs() < 0.05
            if expected == 0:  # the error that a linear filter leaves
                assert residual.mean().item() == pytest.approx(variance / (1 + variance), rel=0.05)


def test_residual_error_is_known_without_the_truth(task: Task) -> None:
    from wirelessgym.agents.robust_wmmse import denoised

    h = sparse_in_beams(256, 4)
    for variance in (0.01, 0.1, 1.0):
        noise = torch.randn(h.shape, dtype=h.dtype, generator=torch.Generator().manual_seed(9)) * math.sqrt(variance)
        estimate, residual = denoised(h + noise, torch.full((256,), variance), task.scenario.panel)
        made = (estimate - h).abs().square().mean()
        assert residual.mean().item() == pytest.approx(made.item(), rel=0.03)
        assert made < variance


def test_robust_wmmse_with_perfect_knowledge_is_wmmse(task: Task) -> None:
    obs = episodes(4, 8, 32)
    expected = make_agent("wmmse").act(task, obs)
    assert torch.equal(make_agent("robust_wmmse").act(task, obs), expected)
    known = obs | {"csi_noise_power": torch.zeros(4)}
    assert torch.allclose(make_agent("robust_wmmse").act(task, known), expected, atol=1e-4)


def test_no_channel_at_all_gets_no_power_and_no_nan(task: Task) -> None:
    obs = episodes(2, 3, 32) | {"csi_noise_power": torch.full((2,), 0.05)}
    obs["csi"] = torch.zeros_like(obs["csi"])
    for name in (*LINEAR, *ROBUST):
        assert torch.equal(make_agent(name).act(task, obs), torch.zeros_like(obs["csi"])), name


def test_random_precoders_use_all_power_and_touch_no_global_state(task: Task) -> None:
    obs = episodes(4, 8, 32)
    before = torch.get_rng_state()
    first = make_agent("random", seed=5).act(task, obs)
    assert torch.equal(make_agent("random", seed=5).act(task, obs), first)
    assert not torch.equal(make_agent("random", seed=6).act(task, obs), first)
    assert torch.allclose(first.abs().square().sum((1, 2)), obs["tx_power"])
    assert torch.equal(torch.get_rng_state(), before)


def test_precoders_play_the_task_with_a_range_of_users() -> None:
    task = make_task("precoding", scenario="rayleigh-32", num_users=(2, 6), csi_snr_db=15.0)
    state, obs = task.reset(range(16), seed=1)
    rates = {name: task.step(state, make_agent(name).act(task, obs))[1].metrics for name in ALL}
    bound = task.bound(state)
    assert bound is not None
    for name, metrics in rates.items():
        assert bool((metrics["sum_rate"] <= bound + 1e-3).all()), name
        assert bool((metrics["power_scale"] > 0.9999).all()), name
    means = {name: metrics["sum_rate"].mean().item() for name, metrics in rates.items()}
    assert means["random"] < means["mrt"] < means["zf"] < means["wmmse"]
