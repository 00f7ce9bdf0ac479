"""Detection by the head that starts classically: exact for two users, EP at its start, and its symmetries."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from universal_agents import TINY_BACKBONE, episodes, stirred, universal
from wirelessgym.agents.universal.heads.classical_init.detection import Belief, pair_log_likelihoods, start, turn

from wirelessgym import make_agent, make_task
from wirelessgym.learned import LearnedAgent
from wirelessgym.modulation import constellation, llrs_of_logits, log_likelihoods

CROWD: dict[str, Any] = {"num_users": (3, 8), "snr_db": (0, 20)}


@pytest.fixture(scope="module")
def speaking() -> LearnedAgent:
    """An agent with a language model, away from its start."""
    return stirred(universal(**TINY_BACKBONE), episodes("detection", **CROWD)[0], strength=0.3)


def received(users: int, modulation: str, noise_power: float, seed: int = 0, batch: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Channels (batch, antennas, users) of 4 antennas, received vectors, and the points."""
    generator = torch.Generator().manual_seed(seed)
    points = constellation(modulation)
    h = torch.randn(batch, 4, users, dtype=torch.complex64, generator=generator)
    sent = points[torch.randint(len(points), (batch, users), generator=generator)]
    noise = torch.randn(batch, 4, dtype=torch.complex64, generator=generator) * noise_power**0.5
    return h, (h @ sent[..., None])[..., 0] + noise, points


def believed(h: Tensor, y: Tensor, noise_power: float) -> Belief:
    return start(h.mH @ h / noise_power, (h.mH @ y[..., None])[..., 0] / noise_power)


def enumerated(h: Tensor, y: Tensor, points: Tensor, noise_power: Tensor | float) -> Tensor:
    """Log-probability of each of two users' points, every pair of symbols tried, shape (..., 2, points)."""
    h, y, points = h.to(torch.complex128), y.to(torch.complex128), points.to(torch.complex128)
    first, second = h[..., 0, None, None] * points[:, None], h[..., 1, None, None] * points
    distance = (y[..., None, None] - first - second).abs().square().sum(-3)
    joint = -distance / torch.as_tensor(noise_power, dtype=torch.float64)
    return torch.log_softmax(torch.stack([joint.logsumexp(-1), joint.logsumexp(-2)], -2), -1)


@pytest.mark.parametrize("noise_power", [1.0, 0.03])
@pytest.mark.parametrize("modulation", ["qpsk", "16qam", "64qam"])
def test_two_users_get_their_exact_marginals_whatever_the_messages(modulation: str, noise_power: float) -> None:
    h, y, points = received(2, modulation, noise_power)
    exact = enumerated(h, y, points, noise_power).exp()
    belief = believed(h, y, noise_power)
    for _ in range(3):
        ours = torch.softmax(pair_log_likelihoods(belief, points), -1)
        torch.testing.assert_close(ours.double(), exact, rtol=0, atol=2e-3)
        belief = turn(belief, log_likelihoods(belief.estimate, belief.variance, points), points)


def test_two_users_seen_one_by_one_would_not_be_exact() -> None:
    h, y, points = received(2, "16qam", 0.3)
    belief = believed(h, y, 0.3)
    alone = torch.softmax(log_likelihoods(belief.estimate, belief.variance, points), -1)
    assert (alone - enumerated(h, y, points, 0.3).exp()).abs().max() > 0.1


def test_a_third_user_that_is_hardly_heard_leaves_the_pair_exact() -> None:
    h, y, points = received(2, "16qam", 0.1)
    belief = believed(torch.cat([1e-3 * h.flip(1)[..., :1], h], -1), y, 0.1)
    ours = torch.softmax(pair_log_likelihoods(belief, points), -1)[:, 1:]
    torch.testing.assert_close(ours.double(), enumerated(h, y, points, 0.1).exp(), rtol=0, atol=1e-2)


@pytest.mark.parametrize("turns", [0, 1, 4])
def test_one_user_is_seen_through_its_matched_filter_however_many_turns(turns: int) -> None:
    h, y, points = received(1, "16qam", 0.2)
    belief = believed(h, y, 0.2)
    for _ in range(turns):
        belief = turn(belief, log_likelihoods(belief.estimate, belief.variance, points), points)
    gain = h.abs().square().sum(1)
    torch.testing.assert_close(belief.estimate, (h.conj() * y[..., None]).sum(1) / gain, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(belief.variance, 0.2 / gain, rtol=1e-3, atol=1e-4)


def test_it_starts_from_unbiased_lmmse() -> None:
    h, y, _ = received(3, "16qam", 0.5)
    belief = believed(h, y, 0.5)
    inverse = torch.linalg.inv(h.mH @ h + 0.5 * torch.eye(3))
    filtered, bias = (inverse @ h.mH @ y[..., None])[..., 0], 1 - 0.5 * inverse.diagonal(dim1=-2, dim2=-1).real
    torch.testing.assert_close(belief.estimate, filtered / bias, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(belief.variance, (1 - bias) / bias, rtol=1e-3, atol=1e-4)


def test_a_turn_moves_messages_by_the_share_that_it_is_given() -> None:
    h, y, points = received(4, "16qam", 0.3)
    belief = believed(h, y, 0.3)
    logits = log_likelihoods(belief.estimate, belief.variance, points)
    still, halfway, whole = (turn(belief, logits, points, share) for share in (0.0, 0.5, 1.0))
    torch.testing.assert_close(still.precision, belief.precision)
    torch.testing.assert_close(halfway.precision, (belief.precision + whole.precision) / 2)
    assert (whole.precision - belief.precision).abs().max() > 0.1


@pytest.mark.parametrize("modulation", ["qpsk", "16qam"])
def test_fresh_weights_detect_two_users_as_well_as_can_be(modulation: str) -> None:
    task, _, obs = episodes("detection", 16, num_users=2, snr_db=(0, 10), modulation=modulation, llrs=True)
    ours, best = universal().act(task, obs), make_agent("ml").act(task, obs)
    assert isinstance(ours, dict) and isinstance(best, dict)
    torch.testing.assert_close(ours["symbols"], best["symbols"], rtol=0, atol=5e-3)
    sure = best["llrs"].abs() > 10
    torch.testing.assert_close(ours["llrs"][~sure], best["llrs"][~sure], rtol=0.02, atol=0.02)
    assert (ours["llrs"][sure].sign() == best["llrs"][sure].sign()).all()


def test_ratios_are_those_of_the_enumerated_pair() -> None:
    task, _, obs = episodes("detection", 4, num_users=2, snr_db=(0, 5), llrs=True)
    action = universal().act(task, obs)
    exact = enumerated(obs["csi"][:, None], obs["received"], task.constellation, obs["noise_power"][:, None, None, None])
    torch.testing.assert_close(action["llrs"].double(), llrs_of_logits(exact), rtol=0.02, atol=0.02)


def test_fresh_weights_err_less_than_soft_lmmse_and_hardly_more_than_expectation_propagation() -> None:
    task, state, obs = episodes("detection", 64, num_users=8, snr_db=(0, 20))
    ours, linear, ep = (
        task.score(state, player.act(task, obs))["nmse"].mean()
        for player in (universal(), make_agent("lmmse_soft"), make_agent("ep"))
    )
    assert ours < 0.95 * linear
    assert ours < 1.02 * ep


def test_permuting_users_permutes_their_symbols(speaking: LearnedAgent) -> None:
    task, _, obs = episodes("detection", **CROWD)
    order = torch.tensor([3, 0, 7, 5, 1, 6, 4, 2])
    permuted = obs | {"csi": obs["csi"][..., order], "mask": obs["mask"][:, order]}
    torch.testing.assert_close(speaking.act(task, permuted), speaking.act(task, obs)[..., order], rtol=0, atol=5e-3)


def test_permuting_received_vectors_permutes_their_symbols(speaking: LearnedAgent) -> None:
    task, _, obs = episodes("detection", **CROWD)
    flipped = obs | {"received": obs["received"].flip(1)}
    torch.testing.assert_close(speaking.act(task, flipped), speaking.act(task, obs).flip(1), rtol=0, atol=5e-3)


def test_turning_the_antennas_basis_and_the_unit_of_power_changes_nothing(speaking: LearnedAgent) -> None:
    task, _, obs = episodes("detection", **CROWD)
    antennas = obs["csi"].shape[1]
    basis, _ = torch.linalg.qr(torch.randn(antennas, antennas, dtype=torch.complex64, generator=torch.Generator().manual_seed(1)))
    turned = {
        "csi": 3 * basis @ obs["csi"],
        "received": 3 * obs["received"] @ basis.mT,
        "noise_power": 9 * obs["noise_power"],
    }
    torch.testing.assert_close(speaking.act(task, obs | turned), speaking.act(task, obs), rtol=0, atol=5e-3)


def test_users_that_take_no_part_get_no_symbol_and_change_nothing_for_the_others(speaking: LearnedAgent) -> None:
    task, _, obs = episodes("detection", **CROWD)
    assert not obs["mask"].all()
    assert (speaking.act(task, obs)[~obs["mask"][:, None].expand(-1, obs["received"].shape[1], -1)] == 0).all()
    task, _, obs = episodes("detection", num_users=4, snr_db=(0, 20))
    more = torch.cat([obs["csi"], torch.zeros(*obs["csi"].shape[:2], 2)], -1)
    torch.testing.assert_close(speaking.act(task, obs | {"csi": more})[..., :4], speaking.act(task, obs), rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    "setting",
    [
        {"num_users": 1},
        {"num_users": 12, "modulation": "64qam"},
        {"scenario": "uma-nlos-32", "num_users": 5, "snr_db": 30},
        {"modulation": "qpsk", "num_slots": 2, "csi_snr_db": 10},
    ],
    ids=str,
)
def test_users_antennas_modulation_and_noise_may_be_any_with_the_same_weights(setting: dict[str, Any]) -> None:
    agent = stirred(universal(), episodes("detection", **CROWD)[0])
    count = agent.num_parameters
    task, state, obs = episodes("detection", **CROWD | setting)
    action = agent.act(task, obs)
    task.check_action(action, len(action))
    assert action.abs().max() <= task.constellation.abs().max() * (1 + 1e-5)  # a mean of points
    assert task.score(state, action)["nmse"].mean() < task.score(state, make_agent("random").act(task, obs))["nmse"].mean()
    assert agent.num_parameters == count


def test_errors_count_relative_to_what_an_episode_makes_hard() -> None:
    losses, errors = [], []
    for snr_db in (0, 15):  # expectation propagation knows its error: the ratio is near one while the error is large
        task, state, obs = episodes("detection", 16, num_users=8, snr_db=snr_db)
        losses.append(universal().loss(task, state, obs).item())
        errors.append(task.score(state, universal().act(task, obs))["nmse"].mean())
    assert all(0.3 < loss < 1.5 for loss in losses)
    assert errors[0] > 3 * errors[1]


def test_a_hidden_noise_power_is_refused() -> None:
    task = make_task("detection", scenario="uma-nlos-16", noise_power_observable=False)
    _, obs = task.reset(range(2), seed=0)
    with pytest.raises(
        ValueError, match="the detection head needs the noise power: make the task with noise_power_observable=True"
    ):
        universal().act(task, obs)
