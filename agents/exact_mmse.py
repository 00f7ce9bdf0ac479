"""The exact posterior mean: all vectors of symbols are weighed. No detector's mean square error is less.

The users are split in two halves. The log-likelihood of a vector is a term of either half's symbols and a product of both, so
that two small tables and one matrix product give all of them.

Source: Verdu, "Multiuser Detection", 1998, chapter 4; the posterior mean has the least mean square error: Kay, "Fundamentals of
Statistical Signal Processing: Estimation Theory", 1993, section 11.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.modulation import nearest
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import from_logits, in_chunks, points_of, sufficient_statistics

LARGEST_SEARCH = 2**16


@dataclass(frozen=True)
class ExactMMSE(Agent):
    """Detect with the posterior mean over all vectors of symbols, where they are few: QPSK for 8 users, 16-QAM for 4.

    The line that detectors can be held against where the genie-aided bound says nothing, which knows all other users' symbols and
    from some 15 dB on hardly errs. `ml` does the same by Sionna's detector, up to 2**20 vectors and much slower.

    Args:
        soft: whether symbols are posterior means, or each user's likeliest point, which no detector's symbol error rate beats.
    """

    soft: bool = True
    tasks = ("detection",)
    only_when_named = True

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return symbols, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: for more than 65,536 vectors to weigh, or if the noise power is hidden.
        """
        points, users = points_of(task, obs["received"]), obs["csi"].shape[-1]
        if len(points) ** users > LARGEST_SEARCH:
            raise ValueError(
                f"exact_mmse weighs every vector of symbols: {len(points)} points ** {users} users = {len(points) ** users}, "
                f"expected at most {LARGEST_SEARCH}; smc comes close for any number"
            )
        statistics = sufficient_statistics(obs, "exact_mmse", torch.complex128)
        chunks = in_chunks(statistics, len(points) ** users)
        logits = torch.cat([log_marginals(gram, collected, points) for gram, collected in chunks])
        return from_logits(task, logits.unflatten(0, obs["received"].shape[:2]), points, self.soft)


def log_marginals(gram: Tensor, collected: Tensor, points: Tensor) -> Tensor:
    """Log-probability of each user's points, summed over all other users' symbols.

    Args:
        gram: ``H^H H / noise_power``, shape (vectors, users, users), complex128.
        collected: ``H^H y / noise_power``, shape (vectors, users), complex128.
        points: shape (points,), complex64.

    Returns:
        Shape (vectors, users, points), float32.
    """
    users, num_points = gram.shape[-1], len(points)
    halves = slice(0, users // 2), slice(users // 2, users)
    # Symbols count from a decision near the likeliest vector, so that single precision is enough where weights are large.
    identity = torch.eye(users, dtype=gram.dtype, device=gram.device)
    linear = torch.linalg.solve(gram + identity, collected[..., None])
    decision = points.to(gram.dtype)[nearest(linear[..., 0], points)]
    left = (collected - (gram @ decision[..., None])[..., 0]).to(points.dtype)
    gram = gram.to(points.dtype)
    (first, first_places), (second, second_places) = (_combinations(points, len(range(users)[half])) for half in halves)
    first, second = (x - decision[:, None, half].to(points.dtype) for x, half in zip((first, second), halves, strict=True))
    crossed = first.conj() @ gram[:, halves[0], halves[1]]
    joint = torch.view_as_real(crossed).flatten(2) @ torch.view_as_real(second.conj().resolve_conj()).flatten(2).mT
    joint.mul_(-2).add_(_own(first, halves[0], gram, left)).add_(_own(second, halves[1], gram, left).mT)
    weights = joint.sub_(joint.flatten(1).amax(1)[:, None, None]).exp_()
    sums = torch.cat([weights.sum(2) @ first_places, weights.sum(1) @ second_places], -1).unflatten(-1, (users, num_points))
    probabilities = sums / sums.sum(-1, keepdim=True)
    return probabilities.clamp_min(torch.finfo(sums.dtype).tiny).log()


def _own(symbols: Tensor, half: slice, gram: Tensor, left: Tensor) -> Tensor:
    """Log-likelihood of one half's ``symbols`` (vectors, combinations, users) without the other's: (vectors, combinations, 1)."""
    linear = symbols.conj() @ left[:, half, None]
    square = ((symbols.conj() @ gram[:, half, half]) * symbols).sum(-1, keepdim=True)
    return 2 * linear.real - square.real


def _combinations(points: Tensor, users: int) -> tuple[Tensor, Tensor]:
    """All vectors of ``users`` symbols.

    Returns:
        Shape (combinations, users), complex64; which point each user has, shape (combinations, users * points), float32, 0 or 1.
    """
    places = torch.arange(users, device=points.device)
    digits = torch.arange(len(points) ** users, device=points.device)[:, None] // len(points) ** places % len(points)
    return points[digits], torch.nn.functional.one_hot(digits, len(points)).flatten(1).float()
