"""Expectation propagation whose iterations may weigh the symbols of two users jointly.

Expectation propagation (EP) approximates the posterior of all users' symbols by a Gaussian: each user's constellation is replaced
by a Gaussian message. Without its own message, a user's symbol has an estimate with a variance, as if it had been seen alone. Two
users whose channels are alike err together, so that a user may also be looked at together with the one that its error is most
correlated with: all pairs of their points are weighed exactly.

Source: Cespedes, Olmos, Sanchez-Fernandez, Perez-Cruz, "Expectation propagation detection for high-order high-dimensional MIMO
systems", IEEE Trans. Commun. 62(8), 2014, eqs. (28) to (38).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.modulation import log_likelihoods

DAMPING = 0.7  # share of an iteration's new messages
SMALLEST_VARIANCE = 1e-4
LEAST_VARIANCE_DROP = 1e-3


@dataclass(frozen=True)
class Belief:
    """Where EP stands, for each sequence (one received vector of one episode).

    Attributes:
        gram: ``H^H H / noise_power``, shape (sequences, users, users), complex64.
        collected: ``H^H y / noise_power``, shape (sequences, users).
        precision: of each user's message, same shape, float32.
        shift: precision times mean of it, complex64.
        mean: of all symbols, messages included, complex64.
        covariance: of its error, shape (sequences, users, users), complex64.
        estimate: of each symbol from everything but its own message, complex64.
        variance: of that, float32.
    """

    gram: Tensor
    collected: Tensor
    precision: Tensor
    shift: Tensor
    mean: Tensor
    covariance: Tensor
    estimate: Tensor
    variance: Tensor


def start(gram: Tensor, collected: Tensor) -> Belief:
    """EP's first belief: unit-energy Gaussian messages, which is LMMSE."""
    ones = torch.ones_like(collected.real)
    return _with_cavity(gram, collected, ones, torch.zeros_like(collected))


def turn(belief: Belief, logits: Tensor, points: Tensor, damping: Tensor | float = DAMPING) -> Belief:
    """One iteration of EP, with the symbols' distributions given by ``logits``, shape (sequences, users, points).

    ``damping`` is the share that new messages have in the next ones, a number or shape (sequences, users).
    """
    probabilities = torch.softmax(logits, -1)
    mean = (probabilities * points).sum(-1)
    spread = (probabilities * (points - mean[..., None]).abs().square()).sum(-1).clamp_min(SMALLEST_VARIANCE)
    precision = 1 / spread - 1 / belief.variance
    shift = mean / spread - belief.estimate / belief.variance
    valid = precision > LEAST_VARIANCE_DROP
    precision = torch.where(valid, precision, belief.precision)
    shift = torch.where(valid, shift, belief.shift)
    precision = damping * precision + (1 - damping) * belief.precision
    shift = damping * shift + (1 - damping) * belief.shift
    return _with_cavity(belief.gram, belief.collected, precision, shift)


def pair_log_likelihoods(belief: Belief, points: Tensor) -> Tensor:
    """Log-likelihood of each user's points, up to a constant, when its closest companion's symbol is weighed point by point.

    The companion is the user whose error is most correlated. The two users' messages are taken out of their joint Gaussian,
    which leaves ``-x^H A x + 2 Re(x^H b)`` for their symbols x; that is summed over the companion's points.

    Returns:
        Shape (sequences, users, points), float32.
    """
    own = belief.covariance.diagonal(dim1=-2, dim2=-1).real.clamp_min(SMALLEST_VARIANCE / 10)
    correlation = belief.covariance.abs().square() / (own[..., None] * own[..., None, :])
    correlation = correlation - 2 * torch.eye(own.shape[-1], device=own.device)
    companion = correlation.argmax(-1)
    if own.shape[-1] == 1:
        return log_likelihoods(belief.estimate, belief.variance, points)
    cross = belief.covariance.gather(-1, companion[..., None])[..., 0]
    other, other_mean = own.gather(-1, companion), belief.mean.gather(-1, companion)
    other_precision, other_shift = belief.precision.gather(-1, companion), belief.shift.gather(-1, companion)
    determinant = (own * other - cross.abs().square()).clamp_min(1e-3 * SMALLEST_VARIANCE**2)
    a_own, a_other = other / determinant - belief.precision, own / determinant - other_precision
    a_cross = -cross / determinant
    b_own = (other * belief.mean - cross * other_mean) / determinant - belief.shift
    b_other = (own * other_mean - cross.conj() * belief.mean) / determinant - other_shift

    def alone(a: Tensor, b: Tensor) -> Tensor:
        return -a[..., None] * points.abs().square() + 2 * (b[..., None].conj() * points).real

    together = -2 * (points.conj()[:, None] * points * a_cross[..., None, None]).real
    return alone(a_own, b_own) + (together + alone(a_other, b_other)[..., None, :]).logsumexp(-1)


def _with_cavity(gram: Tensor, collected: Tensor, precision: Tensor, shift: Tensor) -> Belief:
    """The belief with each user's own message taken out again."""
    covariance = torch.linalg.inv(gram + torch.diag_embed(precision).to(gram.dtype))
    mean = (covariance @ (collected + shift)[..., None])[..., 0]
    spread = covariance.diagonal(dim1=-2, dim2=-1).real.clamp_min(SMALLEST_VARIANCE / 10)
    left = (1 / spread - precision).clamp_min(1e-3)
    variance = (1 / left).clamp_min(SMALLEST_VARIANCE)
    return Belief(gram, collected, precision, shift, mean, covariance, (mean / spread - shift) / left, variance)
