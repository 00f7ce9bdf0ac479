"""Expectation propagation's single steps: which moments a turn matches, and which other user a user is looked at with."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor
from wirelessgym.agents._pair_ep import Belief, pair_log_likelihoods, start, turn

from wirelessgym.modulation import constellation, log_likelihoods

POINTS = constellation("16qam")


def belief(users: int = 4, antennas: int = 6, noise_power: float = 0.3, sequences: int = 5) -> Belief:
    generator = torch.Generator().manual_seed(1)
    csi = torch.randn(sequences, antennas, users, dtype=torch.complex64, generator=generator)
    sent = POINTS[torch.randint(16, (sequences, users), generator=generator)]
    noise = noise_power**0.5 * torch.randn(sequences, antennas, dtype=torch.complex64, generator=generator)
    received = (csi @ sent[..., None])[..., 0] + noise
    return start(csi.mH @ csi / noise_power, (csi.mH @ received[..., None])[..., 0] / noise_power)


def moments(logits: Tensor) -> tuple[Tensor, Tensor]:
    shares = logits.softmax(-1)
    mean = (shares * POINTS).sum(-1)
    return mean, (shares * POINTS.abs().square()).sum(-1) - mean.abs().square()


def test_a_whole_turn_gives_each_message_the_moments_of_its_points() -> None:
    before = belief()
    logits = log_likelihoods(before.estimate, before.variance, POINTS)
    mean, spread = moments(logits)
    after = turn(before, logits, POINTS, damping=1.0)
    precision = after.precision + 1 / before.variance
    fresh = (1 / spread - 1 / before.variance > 2e-3) & (spread > 2e-4)
    assert fresh.float().mean() > 0.5
    torch.testing.assert_close(1 / precision[fresh], spread[fresh], rtol=1e-2, atol=1e-5)
    joint = (after.shift + before.estimate / before.variance) / precision
    torch.testing.assert_close(joint[fresh], mean[fresh], rtol=1e-2, atol=1e-3)


def test_messages_that_would_have_no_precision_stay_as_they_were() -> None:
    before = belief(noise_power=1.0, antennas=8)
    wide = torch.zeros(5, 4, 16)  # all points alike: wider than what is known from everything else
    wide[:, 1:] = log_likelihoods(before.estimate, before.variance, POINTS)[:, 1:]
    after = turn(before, wide, POINTS, damping=1.0)
    assert bool((before.variance[:, 0] < 1).all())
    torch.testing.assert_close(after.precision[:, 0], before.precision[:, 0])
    torch.testing.assert_close(after.shift[:, 0], before.shift[:, 0])
    assert not torch.allclose(after.shift[:, 1:], before.shift[:, 1:])


def test_a_belief_is_the_gaussian_posterior_and_a_cavity_that_without_ones_own_message() -> None:
    now = turn(belief(), log_likelihoods(belief().estimate, belief().variance, POINTS), POINTS)
    covariance = torch.linalg.inv(now.gram + torch.diag_embed(now.precision).to(now.gram.dtype))
    torch.testing.assert_close(now.covariance, covariance, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(now.mean, (covariance @ (now.collected + now.shift)[..., None])[..., 0], rtol=1e-3, atol=1e-5)
    for user in range(4):
        others = torch.arange(4) != user
        alone = torch.linalg.inv(now.gram + torch.diag_embed(now.precision * others).to(now.gram.dtype))
        torch.testing.assert_close(now.variance[:, user], alone[:, user, user].real, rtol=1e-2, atol=1e-4)
        mean = (alone @ (now.collected + now.shift * others)[..., None])[:, user, 0]
        torch.testing.assert_close(now.estimate[:, user], mean, rtol=1e-2, atol=1e-3)


def test_the_companion_is_the_user_of_the_largest_correlation_not_of_the_largest_covariance() -> None:
    deviation = torch.tensor([0.3, 0.05, 0.8])
    correlation = torch.tensor([[1, 0.9, 0.3], [0.9, 1, 0.2], [0.3, 0.2, 1]])
    covariance = (correlation * deviation * deviation[:, None]).to(torch.complex64)
    gram = torch.linalg.inv(covariance) - torch.eye(3)
    now = start(gram[None], (gram @ POINTS[[3, 7, 12]])[None])
    torch.testing.assert_close(now.covariance[0], covariance, rtol=1e-3, atol=1e-5)

    def of(*users: int) -> Belief:
        parts = {field.name: getattr(now, field.name) for field in fields(Belief)}
        index = torch.tensor(users)
        return Belief(**{k: v[:, index][..., index] if v.ndim == 3 else v[:, index] for k, v in parts.items()})

    found = pair_log_likelihoods(now, POINTS).softmax(-1)
    torch.testing.assert_close(found[:, 0], pair_log_likelihoods(of(0, 1), POINTS).softmax(-1)[:, 0], rtol=1e-3, atol=1e-5)
    assert (found[:, 0] - pair_log_likelihoods(of(0, 2), POINTS).softmax(-1)[:, 0]).abs().max() > 0.01
    alone = log_likelihoods(now.estimate, now.variance, POINTS)[:, 2:]
    torch.testing.assert_close(pair_log_likelihoods(of(2), POINTS).softmax(-1), alone.softmax(-1), rtol=1e-3, atol=1e-5)
