"""Detectors that come near the exact posterior: against all vectors of symbols, each other, and the symmetries of the problem."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from rayleigh_detection import detection, episodes, errors, nmse
from torch import Tensor
from wirelessgym.agents._tree import resampled

from wirelessgym import make_agent, make_task
from wirelessgym.modulation import bits_of, constellation

EVERYTHING = {"list_mmse": {"list_size": 4096}, "smc": {"paths": 4096}, "exact_mmse": {}}
NEAR = ("pair_ep", *EVERYTHING)


def all_vectors(obs: dict[str, Tensor], modulation: str) -> tuple[Tensor, Tensor]:
    """Every vector's points, shape (vectors, users), int64, and log-probability, shape (batch, slots, vectors), float64."""
    points = constellation(modulation).to(torch.complex128)
    users = obs["csi"].shape[-1]
    places = torch.cartesian_prod(*[torch.arange(len(points))] * users).reshape(-1, users)
    clean = points[places] @ obs["csi"].to(torch.complex128).mT
    distance = (obs["received"][:, :, None] - clean[:, None]).abs().square().sum(-1)
    return places, torch.log_softmax(-distance / obs["noise_power"].double()[:, None, None], -1)


def bit_sums(obs: dict[str, Tensor], modulation: str, max_log: bool = False) -> Tensor:
    """Log-likelihood ratios by their definition, or with the largest term in place of the sum: (batch, slots, users, bits)."""
    places, weights = all_vectors(obs, modulation)
    bits = bits_of(places, len(constellation(modulation)).bit_length() - 1)

    def log_probability(value: bool) -> Tensor:
        part = weights[..., None, None].masked_fill(bits != value, -torch.inf)
        return part.amax(2) if max_log else part.logsumexp(2)

    return log_probability(True) - log_probability(False)


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize(
    ("users", "antennas", "modulation"),
    [(1, 2, "64qam"), (2, 4, "64qam"), (3, 4, "16qam"), (5, 6, "qpsk"), (3, 2, "qpsk")],
)
def test_whoever_weighs_all_vectors_gives_their_mean_and_their_ratios(
    name: str, users: int, antennas: int, modulation: str
) -> None:
    obs, _ = episodes(4, users, antennas, snr_db=6, modulation=modulation, slots=2)
    places, weights = all_vectors(obs, modulation)
    mean = weights.exp().to(torch.complex128) @ constellation(modulation)[places].to(torch.complex128)
    found = make_agent(name, **EVERYTHING[name]).act(detection(modulation, llrs=True), obs)
    torch.testing.assert_close(found["symbols"].to(torch.complex128), mean, rtol=0, atol=2e-5)
    ratios = bit_sums(obs, modulation)
    clear = ratios.abs() > 19
    torch.testing.assert_close(found["llrs"].double()[~clear], ratios[~clear], rtol=1e-3, atol=1e-3)
    assert (found["llrs"][clear].sign() == ratios[clear].sign()).all()


def test_max_log_ratios_are_differences_of_the_largest_log_probabilities() -> None:
    obs, _ = episodes(6, 3, 4, snr_db=4)
    ratios = make_agent("list_mmse", list_size=4096, ratios="max-log").act(detection(llrs=True), obs)["llrs"]
    torch.testing.assert_close(ratios.double(), bit_sums(obs, "16qam", max_log=True).clamp(-20, 20), rtol=1e-3, atol=1e-3)


def test_exact_posterior_of_65536_vectors_is_sionnas() -> None:
    obs, _ = episodes(2, 8, 8, snr_db=6, modulation="qpsk", slots=2)
    task = detection("qpsk", llrs=True)
    ours, sionnas = make_agent("exact_mmse").act(task, obs), make_agent("ml").act(task, obs)
    torch.testing.assert_close(ours["symbols"], sionnas["symbols"], rtol=0, atol=1e-4)
    torch.testing.assert_close(ours["llrs"], sionnas["llrs"], rtol=1e-2, atol=1e-2)


def test_exact_posterior_is_refused_where_vectors_are_too_many() -> None:
    with pytest.raises(ValueError, match=r"exact_mmse weighs .*: 16 points \*\* 5 users = 1048576, expected at most 65536; smc"):
        make_agent("exact_mmse").act(detection(), episodes(1, 5, 8, snr_db=10)[0])


@pytest.mark.parametrize("name", NEAR)
def test_likeliest_points_are_decided_where_means_are_not_wanted(name: str) -> None:
    obs, sent = episodes(100, 3, 4, snr_db=6)
    means, points = (make_agent(name, soft=soft).act(detection(), obs) for soft in (True, False))
    assert (points[..., None] - constellation("16qam")).abs().amin(-1).max() < 1e-6
    assert errors(points, sent) < 0.98 * errors(means, sent)
    assert nmse(points, sent) > 1.2 * nmse(means, sent)


def test_a_list_of_one_decides_and_is_as_sure_as_ratios_may_be() -> None:
    obs, _ = episodes(4, 3, 8, snr_db=10)
    points = constellation("16qam")
    found = make_agent("list_mmse", list_size=1).act(detection(llrs=True), obs)
    distance, decided = (found["symbols"][..., None] - points).abs().min(-1)
    assert distance.max() < 1e-6
    assert torch.equal(found["llrs"], 40 * bits_of(decided, 4).float() - 20)


def test_a_longer_list_is_nearer_to_the_exact_posterior() -> None:
    obs, _ = episodes(20, 4, 6, snr_db=8)
    exact = make_agent("exact_mmse").act(detection(), obs)
    for name, option in (("list_mmse", "list_size"), ("smc", "paths")):
        away = [(make_agent(name, **{option: size}).act(detection(), obs) - exact).abs().square().mean() for size in (8, 64, 512)]
        assert 3 * away[2] < away[1] < away[0] / 3, name


@pytest.mark.parametrize("snr_db", [-5, 0, 5])
def test_paths_that_stand_for_others_are_worth_more_in_noise_than_the_likeliest(snr_db: float) -> None:
    obs, _ = episodes(20, 4, 6, snr_db=snr_db)
    exact = make_agent("exact_mmse").act(detection(), obs)
    likeliest, representative = (
        (make_agent(name).act(detection(), obs) - exact).abs().square().mean() for name in ("list_mmse", "smc")
    )
    assert representative < 0.3 * likeliest


def test_resampling_keeps_the_likeliest_as_they_are_and_the_weight_of_all() -> None:
    weights = torch.tensor([[0.02, 5.0, 0.02, 0.03, 3.0, 0.04, 0.05, 0.06, 0.07, 0.08]])
    kept, places = resampled(weights.log(), 5)
    assert {1, 4} <= set(places[0].tolist())
    assert len(set(places[0].tolist())) == 5
    torch.testing.assert_close(kept[0][places[0] == 1].exp(), torch.tensor([5.0]))
    torch.testing.assert_close(kept.exp().sum(), weights.sum())
    torch.testing.assert_close(kept[0][(places[0] != 1) & (places[0] != 4)].exp(), torch.full((3,), 0.37 / 3))


def test_resampling_never_loses_the_likeliest_however_small_the_others_are() -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        log_weights = -40 * torch.rand(50, 4096, generator=generator)
        kept, places = resampled(log_weights, 256)
        largest = log_weights.topk(20).indices
        assert (places[:, None] == largest[..., None]).any(-1).all()
        torch.testing.assert_close(kept.logsumexp(-1), log_weights.logsumexp(-1))


def test_resampling_takes_one_child_in_n_where_all_are_alike() -> None:
    kept, places = resampled(torch.zeros(2, 64), 16)
    torch.testing.assert_close(kept.exp(), torch.full((2, 16), 4.0))
    assert (places.diff(dim=-1) == 4).all()


def test_resampling_is_unbiased_over_where_the_steps_fall() -> None:
    generator = torch.Generator().manual_seed(0)
    log_weights = 3 * torch.randn(1, 40, generator=generator)
    order = torch.stack([torch.randperm(40, generator=generator) for _ in range(4000)])
    kept, places = resampled(log_weights.expand(4000, -1).gather(1, order), 12)
    estimate = torch.zeros(4000, 40).scatter_add(1, order.gather(1, places), kept.exp()).mean(0)
    assert ((estimate - log_weights[0].exp()).abs() < 0.1 * log_weights[0].exp() + 0.02 * log_weights.exp().sum() / 12).all()


def test_resampling_leaves_places_empty_where_fewer_children_have_weight() -> None:
    log_weights = torch.full((1, 8), -torch.inf)
    log_weights[0, [2, 5]] = 0.0
    kept, places = resampled(log_weights, 4)
    assert kept[0].isfinite().sum() == 2
    assert set(places[0][kept[0].isfinite()].tolist()) == {2, 5}


@pytest.mark.parametrize("name", NEAR)
def test_permuting_users_permutes_their_symbols(name: str) -> None:
    obs, _ = episodes(6, 4, 8, snr_db=6)
    order = torch.tensor([2, 0, 3, 1])
    agent, task = make_agent(name), detection(llrs=True)
    found, permuted = agent.act(task, obs), agent.act(task, obs | {"csi": obs["csi"][..., order]})
    torch.testing.assert_close(permuted["symbols"], found["symbols"][:, :, order], rtol=0, atol=1e-3)
    torch.testing.assert_close(permuted["llrs"], found["llrs"][:, :, order], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", NEAR)
def test_turning_the_antennas_basis_and_the_unit_of_power_changes_nothing(name: str) -> None:
    obs, _ = episodes(6, 4, 8, snr_db=6)
    noise = torch.randn(8, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    basis, _ = torch.linalg.qr(noise)
    turned = {
        "csi": 3 * basis @ obs["csi"],
        "received": 3 * obs["received"] @ basis.mT,
        "noise_power": 9 * obs["noise_power"],
    }
    agent = make_agent(name)
    torch.testing.assert_close(agent.act(detection(), turned), agent.act(detection(), obs), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["list_mmse", "smc"])
def test_searched_rows_do_not_depend_on_their_neighbours_to_the_last_bit(name: str) -> None:
    obs, _ = episodes(7, 6, 12, snr_db=3, slots=5)
    together = make_agent(name).act(detection(), obs)
    alone = [make_agent(name).act(detection(), {key: value[i : i + 1] for key, value in obs.items()}) for i in range(7)]
    assert torch.equal(torch.cat(alone), together)


@pytest.mark.parametrize("name", NEAR)
def test_each_subcarrier_is_detected_by_itself(name: str) -> None:
    overrides: dict[str, Any] = {"scenario": "uma-nlos-16", "num_users": 3, "snr_db": 8, "horizon": 1}
    task, single = make_task("detection", subcarriers=3, **overrides), make_task("detection", **overrides)
    _, obs = task.reset(range(4), seed=1)
    found = make_agent(name).act(task, obs)
    assert found.shape == (4, 3, 6, 3)
    for i in range(3):
        one = obs | {"received": obs["received"][:, i], "csi": obs["csi"][:, i]}
        torch.testing.assert_close(found[:, i], make_agent(name).act(single, one), rtol=0, atol=1e-4)
