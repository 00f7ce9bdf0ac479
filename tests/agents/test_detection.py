"""The detectors against closed forms, each other, Sionna, and the symmetries of the problem."""

from __future__ import annotations

import math

import pytest
import torch
from rayleigh_detection import detection, episodes, errors, nmse
from torch import Tensor

from wirelessgym.modulation import BITS_PER_SYMBOL, bits_of, constellation, generalised_mutual_information, llrs
from wirelessgym.registry import make_agent, make_task

LINEAR = ("mf", "zf", "lmmse")
ALL = (*LINEAR, "lmmse_soft", "oamp", "kbest", "ep", "pair_ep", "list_mmse", "smc", "ml", "exact_mmse")


def gaussian_tail(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(x / math.sqrt(2))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("modulation", ["qpsk", "16qam", "64qam"])
def test_almost_without_noise_every_symbol_and_bit_is_found(name: str, modulation: str) -> None:
    users = {"mf": 1, "ml": 2, "exact_mmse": 2}.get(name, 3)
    obs, sent = episodes(8, users, 8, snr_db=45, modulation=modulation)
    action = make_agent(name).act(detection(modulation, llrs=True), obs)
    assert isinstance(action, dict)
    assert action["symbols"].shape == sent.shape
    assert action["symbols"].dtype == torch.complex64
    assert action["llrs"].dtype == torch.float32
    assert nmse(action["symbols"], sent, modulation) < 1e-3
    assert torch.equal(action["llrs"] > 0, bits_of(sent, BITS_PER_SYMBOL[modulation]))
    assert torch.equal(make_agent(name).act(detection(modulation), obs), action["symbols"])


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("mf", "zf")])
def test_hidden_noise_power_is_refused_where_it_is_needed(name: str) -> None:
    obs, _ = episodes(2, 2, 4, snr_db=10)
    del obs["noise_power"]
    with pytest.raises(ValueError, match=f"{name} needs the noise power: make the task with noise_power_observable=True"):
        make_agent(name).act(detection(), obs)


@pytest.mark.parametrize("name", ["mf", "zf"])
def test_hidden_noise_power_matters_to_simple_filters_only_for_ratios(name: str) -> None:
    obs, _ = episodes(2, 2, 4, snr_db=10)
    del obs["noise_power"]
    assert make_agent(name).act(detection(), obs).shape == (2, 4, 2)
    with pytest.raises(ValueError, match="log-likelihood ratios needs the noise power"):
        make_agent(name).act(detection(llrs=True), obs)


@pytest.mark.parametrize("name", ["zf", "kbest"])
def test_more_users_than_antennas_are_refused_where_they_must_be(name: str) -> None:
    with pytest.raises(ValueError, match="needs users <= antennas, got 3 users on 2 antennas"):
        make_agent(name).act(detection(), episodes(2, 3, 2, snr_db=10)[0])


def test_ml_refuses_a_search_that_is_too_large() -> None:
    with pytest.raises(ValueError, match=r"16 points \*\* 8 users = 4294967296, expected at most 1048576"):
        make_agent("ml").act(detection(), episodes(1, 8, 8, snr_db=10)[0])


@pytest.mark.parametrize("name", [n for n in ALL if n != "lmmse"])
def test_symbol_errors_of_one_user_are_those_of_the_gaussian_channel(name: str) -> None:
    obs, sent = episodes(100, 1, 2, snr_db=11, slots=100)
    snr = obs["csi"].abs().square().sum((1, 2)) / obs["noise_power"]
    expected = (1 - (1 - 1.5 * gaussian_tail((snr / 5).sqrt())).square()).mean().item()
    found = errors(make_agent(name).act(detection(), obs), sent)
    assert found == pytest.approx(expected, abs=4 * math.sqrt(expected / sent.numel()))


def test_zero_forcing_passes_symbols_without_interference() -> None:
    obs, sent = episodes(8, 4, 8, snr_db=10)
    clean = obs | {"received": constellation("16qam")[sent] @ obs["csi"].mT}
    assert torch.allclose(make_agent("zf").act(detection(), clean), constellation("16qam")[sent], atol=1e-4)


def test_lmmse_is_sionnas_once_its_bias_is_taken_out() -> None:
    from sionna.phy.mimo import lmmse_equalizer

    obs, _ = episodes(16, 4, 8, snr_db=8)
    covariance = obs["noise_power"][:, None, None, None] * torch.eye(8, dtype=torch.complex64).expand(16, 4, 8, 8)
    unbiased, variance = lmmse_equalizer(obs["received"], obs["csi"][:, None].expand(-1, 4, -1, -1), covariance)
    # An error variance v after the bias b is taken out means b = 1 / (1 + v).
    assert torch.allclose(make_agent("lmmse").act(detection(), obs), unbiased / (1 + variance), atol=1e-4)


def test_lmmse_error_on_large_arrays_is_marchenko_and_pasturs() -> None:
    users, antennas, snr_db = 32, 64, 6.0
    obs, sent = episodes(100, users, antennas, snr_db)
    load, gain = users / antennas, antennas / float(obs["noise_power"][0])
    root = math.sqrt(load)
    spread = (math.sqrt(gain * (1 + root) ** 2 + 1) - math.sqrt(gain * (1 - root) ** 2 + 1)) ** 2
    # Tse and Hanly, IEEE Trans. Inf. Theory 45(2), 1999; Verdu and Shamai, same issue.
    expected = 1 - spread / (4 * load * gain)
    assert nmse(make_agent("lmmse").act(detection(), obs), sent) == pytest.approx(expected, rel=0.02)


def test_no_linear_filter_errs_less_than_lmmse() -> None:
    obs, sent = episodes(200, 6, 8, snr_db=8)
    error = {name: nmse(make_agent(name).act(detection(), obs), sent) for name in LINEAR}
    assert error["lmmse"] < min(error["mf"], error["zf"])


def test_looking_at_the_constellation_lowers_the_error() -> None:
    obs, sent = episodes(200, 8, 32, snr_db=5)
    error = {n: nmse(make_agent(n).act(detection(), obs), sent) for n in ("lmmse", "lmmse_soft", "oamp", "ep")}
    assert error["ep"] < error["lmmse_soft"] < 0.9 * error["lmmse"]
    assert error["oamp"] < 0.9 * error["lmmse"]


def test_one_look_is_best_in_noise_and_iterating_when_it_is_quiet() -> None:
    loud, sent_in_noise = episodes(400, 8, 16, snr_db=0)
    quiet, sent_in_quiet = episodes(400, 8, 16, snr_db=12)
    soft, iterated = make_agent("lmmse_soft"), make_agent("oamp")
    assert nmse(soft.act(detection(), loud), sent_in_noise) < nmse(iterated.act(detection(), loud), sent_in_noise)
    assert nmse(soft.act(detection(), quiet), sent_in_quiet) > 1.2 * nmse(iterated.act(detection(), quiet), sent_in_quiet)


def test_error_of_the_known_channel_counts_as_noise() -> None:
    obs, sent = episodes(300, 4, 8, snr_db=20)
    error = torch.randn(obs["csi"].shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    blind = obs | {"csi": obs["csi"] + error * math.sqrt(0.2)}
    aware = blind | {"csi_noise_power": torch.full((300,), 0.2)}
    task, bits = detection(llrs=True), bits_of(sent, 4)
    for name in ("lmmse", "lmmse_soft", "oamp", "ep", "pair_ep", "list_mmse", "smc"):
        unaware, told = (make_agent(name).act(task, o) for o in (blind, aware))
        assert nmse(told["symbols"], sent) < nmse(unaware["symbols"], sent), name
        rates = [generalised_mutual_information(a["llrs"], bits).mean() for a in (unaware, told)]
        assert rates[1] > rates[0] + 0.1, name


@pytest.mark.parametrize("name", ["lmmse", "lmmse_soft", "oamp", "ep", "pair_ep", "list_mmse", "smc"])
def test_each_user_adds_the_error_of_its_channel_to_the_noise(name: str) -> None:
    obs, _ = episodes(4, 5, 8, snr_db=10)
    obs["csi"][:, :, 1:3] = 0  # two of the five take no part
    told = obs | {"csi_noise_power": torch.full((4,), 0.1)}
    louder = obs | {"noise_power": obs["noise_power"] + 3 * 0.1}
    agent, task = make_agent(name), detection(llrs=True)
    for key, value in agent.act(task, told).items():
        assert torch.allclose(value, agent.act(task, louder)[key], atol=1e-4), key


def test_ratios_of_the_matched_filter_reckon_with_the_other_users() -> None:
    obs, sent = episodes(200, 6, 32, snr_db=20)
    action = make_agent("mf").act(detection(llrs=True), obs)
    bits = bits_of(sent, 4)
    rate = generalised_mutual_information(action["llrs"], bits).mean()
    for factor in (0.5, 2.0):
        assert generalised_mutual_information(factor * action["llrs"], bits).mean() < rate


def test_the_matched_filter_takes_other_users_and_noise_for_one_gaussian_error() -> None:
    obs, _ = episodes(6, 3, 8, snr_db=0)
    h, noise = obs["csi"], float(obs["noise_power"][0])
    ratios = make_agent("mf").act(detection(llrs=True), obs)["llrs"]
    for k in range(3):
        strength = h[:, :, k].norm(dim=-1) ** 2
        estimate = (obs["received"] @ h[:, :, k].conj()[..., None])[..., 0] / strength[:, None]
        coupling = [(h[:, :, k].conj() * h[:, :, j]).sum(-1).abs().square() for j in range(3) if j != k]
        variance = sum(coupling) / strength**2 + noise / strength
        assert torch.allclose(
            ratios[:, :, k],
            llrs(estimate, variance[:, None].expand(estimate.shape), constellation("16qam")),
            atol=1e-3,
            rtol=1e-3,
        )


def test_lmmse_without_its_bias_is_the_symbol_and_an_error_of_the_variance_it_tells() -> None:
    from wirelessgym.agents._detection import linear_mmse

    obs, sent = episodes(300, 4, 6, snr_db=3, slots=30)
    symbols = constellation("16qam")[sent]
    estimate, unbiased, variance = linear_mmse(obs, obs["noise_power"])
    assert (unbiased * symbols.conj()).mean().real.item() == pytest.approx(1, abs=0.02)
    assert (estimate * symbols.conj()).mean().real.item() < 0.8
    told = variance.mean().item()
    assert (unbiased - symbols).abs().square().mean().item() == pytest.approx(told, rel=0.03)


def test_maximum_likelihood_is_best_of_all() -> None:
    obs, sent = episodes(100, 3, 4, snr_db=9, modulation="qpsk", slots=20)
    task = detection("qpsk", llrs=True)
    found = {name: make_agent(name).act(task, obs) for name in ALL}
    decided = errors(make_agent("ml", soft=False).act(task, obs)["symbols"], sent, "qpsk")
    bits = bits_of(sent, 2)
    rates = {n: generalised_mutual_information(a["llrs"], bits).mean().item() for n, a in found.items()}
    for name, action in found.items():
        assert decided <= errors(action["symbols"], sent, "qpsk") + 0.002, name
        assert nmse(found["ml"]["symbols"], sent, "qpsk") <= nmse(action["symbols"], sent, "qpsk") + 1e-3, name
        assert rates[name] <= rates["ml"] + 1e-3, name
    assert rates["ml"] > rates["lmmse"] + 0.02


def test_kbest_with_all_paths_decides_like_an_exhaustive_search() -> None:
    obs, _ = episodes(20, 3, 3, snr_db=8, modulation="qpsk")
    points = constellation("qpsk")
    every = torch.cartesian_prod(points, points, points)
    distance = (obs["received"][:, :, None] - (every @ obs["csi"].mT)[:, None]).abs().square().sum(-1)
    expected = every[distance.argmin(-1)]
    assert torch.allclose(make_agent("kbest", paths=64).act(detection("qpsk"), obs), expected, atol=1e-6)


def test_ml_gives_the_mean_over_all_vectors() -> None:
    obs, _ = episodes(10, 2, 4, snr_db=5, modulation="qpsk")
    points = constellation("qpsk")
    every = torch.cartesian_prod(points, points)
    distance = (obs["received"][:, :, None] - (every @ obs["csi"].mT)[:, None]).abs().square().sum(-1)
    weights = torch.softmax(-distance / obs["noise_power"][:, None, None], -1)
    expected = weights.to(every.dtype) @ every
    assert torch.allclose(make_agent("ml").act(detection("qpsk"), obs), expected, atol=1e-4)


def test_oamps_filter_is_decorrelated() -> None:
    from wirelessgym.agents.oamp import decorrelated_spectrum, filtered_variance

    obs, _ = episodes(8, 4, 6, snr_db=5)
    h, noise, variance = obs["csi"], obs["noise_power"][:, None], torch.full((8, 1), 0.3)
    eigenvalues, vectors = torch.linalg.eigh(h.mH @ h)
    spectrum = decorrelated_spectrum(eigenvalues, noise / variance, 4)
    w = (vectors * spectrum[:, None]) @ vectors.mH @ h.mH
    assert torch.allclose((w @ h).diagonal(dim1=-2, dim2=-1).real.sum(-1), torch.full((8,), 4.0), rtol=1e-5)
    # It is the LMMSE filter v H^H (v H H^H + noise I)^-1 written over antennas, up to its scale.
    over_antennas = 0.3 * h.mH @ torch.linalg.inv(0.3 * h @ h.mH + noise[..., None] * torch.eye(6))
    scale = 4 / (over_antennas @ h).diagonal(dim1=-2, dim2=-1).real.sum(-1)
    assert torch.allclose(w, over_antennas * scale[:, None, None], atol=1e-4)
    left_over = torch.eye(4) - w @ h
    expected = (left_over.abs().square().sum((1, 2)) * 0.3 + w.abs().square().sum((1, 2)) * noise[:, 0]) / 4
    assert torch.allclose(filtered_variance(eigenvalues, spectrum, variance, noise, 4)[:, 0], expected, rtol=1e-4)


def test_oamp_reads_the_error_of_its_symbols_from_what_noise_does_not_explain() -> None:
    from wirelessgym.agents.oamp import error_variance

    obs, sent = episodes(100, 8, 64, snr_db=10, slots=20)
    generator = torch.Generator().manual_seed(2)
    eigenvalues = torch.linalg.eigvalsh(obs["csi"].mH @ obs["csi"])[:, None]
    for variance in (0.1, 1.0):
        error = torch.randn(sent.shape, dtype=torch.complex64, generator=generator) * math.sqrt(variance)
        estimate = constellation("16qam")[sent] + error
        found = error_variance(obs, estimate, obs["noise_power"][:, None, None], eigenvalues)
        assert found.mean().item() == pytest.approx(variance, rel=0.05)


def test_oamp_knows_the_error_of_its_last_filter() -> None:
    task = detection(llrs=True)
    obs, sent = episodes(400, 16, 64, snr_db=5)
    action = make_agent("oamp").act(task, obs)
    bits = bits_of(sent, 4)
    rate = generalised_mutual_information(action["llrs"], bits).mean()
    for factor in (0.6, 1.6):
        assert generalised_mutual_information(factor * action["llrs"], bits).mean() < rate


def test_freeing_the_divergence_changes_the_iterations_but_not_the_first() -> None:
    obs, _ = episodes(8, 4, 8, snr_db=5)
    task = detection()
    one = [make_agent("oamp", iterations=1, divergence_free=switch).act(task, obs) for switch in (True, False)]
    ten = [make_agent("oamp", divergence_free=switch).act(task, obs) for switch in (True, False)]
    assert torch.equal(*one)
    assert not torch.allclose(*ten, atol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_a_user_that_is_absent_changes_nothing_for_the_others(name: str) -> None:
    obs, _ = episodes(8, 3, 6, snr_db=10, modulation="qpsk")
    csi = obs["csi"]
    padded = obs | {"csi": torch.cat([csi[..., :1], torch.zeros_like(csi[..., :1]), csi[..., 1:]], -1)}
    task = detection("qpsk", llrs=True)
    without, beside = make_agent(name).act(task, obs), make_agent(name).act(task, padded)
    for key in ("symbols", "llrs"):
        assert torch.allclose(beside[key][:, :, [0, 2, 3]], without[key], atol=5e-2, rtol=1e-2), key
        assert bool(torch.isfinite(beside[key]).all()), key


@pytest.mark.parametrize("name", ALL)
def test_a_row_does_not_depend_on_its_neighbours(name: str) -> None:
    obs, _ = episodes(5, 3, 6, snr_db=12)
    together = make_agent(name).act(detection(), obs)
    alone = torch.cat([make_agent(name).act(detection(), {k: v[i : i + 1] for k, v in obs.items()}) for i in range(5)])
    assert torch.allclose(alone, together, atol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_detectors_ignore_the_order_of_antennas(name: str) -> None:
    obs, _ = episodes(8, 3, 6, snr_db=12)
    shuffle = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    other = obs | {"received": obs["received"][..., shuffle], "csi": obs["csi"][:, shuffle]}
    agent = make_agent(name)
    assert torch.allclose(agent.act(detection(), other), agent.act(detection(), obs), atol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_detectors_leave_global_random_state_alone(name: str) -> None:
    obs, _ = episodes(2, 2, 4, snr_db=10)
    before = torch.get_rng_state()
    make_agent(name).act(detection(), obs)
    assert torch.equal(torch.get_rng_state(), before)


def test_importing_sionna_leaves_global_random_state_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from wirelessgym.agents import _sionna

    def reseeding_import(name: str) -> str:
        torch.seed()
        return name

    monkeypatch.setattr(_sionna, "import_module", reseeding_import)
    before = torch.get_rng_state()
    assert _sionna.sionna_phy("mimo") == "sionna.phy.mimo"
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("kbest", {"paths": 0}),
        ("oamp", {"iterations": 0}),
        ("ep", {"iterations": 0}),
        ("ep", {"damping": 1.5}),
        ("pair_ep", {"single_turns": -1}),
        ("pair_ep", {"pair_turns": 0}),
        ("pair_ep", {"damping": 0.0}),
        ("list_mmse", {"list_size": 0}),
        ("list_mmse", {"ratios": "approximate"}),
        ("smc", {"paths": 0}),
    ],
)
def test_options_out_of_range_are_refused(name: str, option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))}: expected"):
        make_agent(name, **option)


def test_detectors_play_the_task_with_a_range_of_users() -> None:
    task = make_task("detection", scenario="rayleigh-32", num_users=(2, 4), snr_db=8.0, llrs=True)
    state, obs = task.reset(range(12), seed=1)
    names = ("random", *(name for name in ALL if name != "ml"))
    found = {}
    for name in names:
        found[name] = task.step(state, make_agent(name).act(task, obs))[1].metrics
    mean = {name: metrics["squared_error"].sum() / metrics["symbol_energy"].sum() for name, metrics in found.items()}
    assert mean["ep"] < mean["lmmse"] < mean["mf"] < mean["random"]
    assert mean["random"] == pytest.approx(2.0, abs=0.2)
    for name in names[1:]:
        assert 0 <= found[name]["gmi"].mean() <= 4, name
