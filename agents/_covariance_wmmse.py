"""WMMSE for channels known by their mean and the covariance of what is not known of them.

User k's channel is ``h_k = m_k + d_k``, ``E d_k = 0``, ``E d_k d_k^H = C_k``, so that ``E|h_k^H w|^2 = |m_k^H w|^2 + w^H C_k w``
takes the place of ``|h_k^H w|^2``. The iteration climbs to a stationary point of ``sum_k log2(1 + SINR_k)``, in which a user's
signal is ``|m_k^H w_k|^2`` and all else that it receives on average is disturbance. For receivers that know their own gain, that
is a lower bound of the expected rate.

Sources: expected powers in WMMSE, Negro, Ghauri, Slock, "Sum rate maximization in the noncooperative MIMO interfering broadcast
channel with partial CSIT", 2012; the bound, Medard, "The effect upon channel capacity in wireless communications of perfect and
imperfect knowledge of the channel", IEEE Trans. Inf. Theory 46(3), 2000; iteration and use of all power as in the agent `wmmse`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wirelessgym.capacity import unit_rows

from ._linear import active_users

ITERATIONS = 20  # with the steps below closer to where they lead than 40 plain ones
# Plain iterations approach their limit from one side and ever more slowly. A plain step, a double and a fivefold one in turn
# shorten every component of what is left: those that a plain step scales by c in [0, 1), by c (2c - 1) (5c - 4).
STEPS = (5.0, 1.0, 2.0)
LARGEST_RATIO = 30.0  # of successive states, for long steps
ROUNDING = 1e-7  # of float32: no signal stands further above its disturbance
TINY = 1e-20  # keeps the matrix of a row without users regular


def covariance_wmmse(
    mean: Tensor,
    covariance: Tensor,
    noise_power: Tensor,
    tx_power: Tensor,
    iterations: int = ITERATIONS,
    start: Tensor | None = None,
    steps: Sequence[float] = STEPS,
) -> Tensor:
    """Precoders that raise the lower bound of the expected sum rate until it hardly rises any more.

    The coordinates may be any orthonormal ones (antennas, beams). Gradients pass through all iterations.

    Args:
        mean: m, shape (batch, users, n), complex; rows of zeros are no users, and their covariances should be zero too.
        covariance: C, shape (batch, users, n, n), same dtype, Hermitian, positive semidefinite.
        noise_power: shape (batch,), W.
        tx_power: shape (batch,), W.
        iterations: at least 1.
        start: precoders to begin with, of the shape of ``mean``, whose phases don't matter; by default regularised zero-forcing
            that counts the covariances as noise, with equal power.
        steps: by how many steps each iteration goes on, over and over; ``(1,)`` is the plain iteration, which never lowers the
            bound.

    Returns:
        Shape (batch, users, n), square root of watt, ``sum_k |w_k|^2 = tx_power`` where there is a user.
    """
    problem = _Problem.of(mean, covariance, noise_power / tx_power)
    if start is None:
        start = unit_rows(problem.directions(active_users(mean.detach()).to(noise_power.dtype)))
    # All that one iteration leaves to the next: users' weights, and the lengths of their precoders; shape (2, batch, users).
    state = problem.update((mean.conj() * start).sum(-1).abs(), start)
    for turn in range(1, iterations):
        directions, lengths = problem.directions(state[0]), state[1]
        amplitude = problem.gains(directions) * lengths
        plain, step = problem.update(amplitude, directions * lengths[..., None]), steps[turn % len(steps)]
        last = turn == iterations - 1
        state = plain if step == 1 or last else _further(state, plain, step)
    w = problem.directions(state[0]) * state[1][..., None]
    # One factor for all: a user's own direction and power have no gradient where it's all but silent.
    power = w.abs().square().sum((-2, -1))
    return w * (tx_power / power.clamp_min(torch.finfo(power.dtype).tiny)).sqrt()[:, None, None]


def expected_rate_bound(mean: Tensor, covariance: Tensor, w: Tensor, noise_power: Tensor) -> Tensor:
    """What `covariance_wmmse` raises: a lower bound of each user's expected rate, shape (batch, users), bit/s/Hz."""
    # Noise is taken in proportion to the power in use, as in the iteration.
    problem = _Problem.of(mean, covariance, noise_power / w.abs().square().sum((-2, -1)))
    signal = (mean.conj() * w).sum(-1).abs().square()
    return torch.log2(1 + signal / problem.disturbance(signal, w))


class _Problem(NamedTuple):
    """Channels in real numbers, such that an iteration takes few operations.

    Attributes:
        mean: m, shape (batch, users, n), complex.
        moments: ``C_k + m_k m_k^H + noise I``, shape (batch, users, 2 n^2), real and imaginary parts in turn. The trace of its
            product with ``sum_j w_j w_j^H`` is all the power that user k receives; both are Hermitian, so the trace is a real
            inner product of their entries.
        regular: what keeps sums of moments regular, shape (1, 1, 2 n^2).
    """

    mean: Tensor
    moments: Tensor
    regular: Tensor

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor, noise_to_power: Tensor) -> _Problem:
        """Make one, with noise in proportion to the power in use, shape (batch,)."""
        identity = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
        noise = noise_to_power[:, None, None, None] * identity
        moments = covariance + mean[..., None] * mean.conj()[..., None, :] + noise
        return cls(mean, _as_rows(moments), _as_rows(TINY * identity)[None, None])

    def directions(self, weights: Tensor) -> Tensor:
        """Rows ``(sum_j q_j (C_j + m_j m_j^H + noise I))^-1 m_k``, q being the ``weights``, shape (batch, users, n)."""
        size = self.mean.shape[-1]
        rows = torch.baddbmm(self.regular, weights[:, None], self.moments)
        matrix = torch.view_as_complex(rows.view(-1, size, size, 2))
        solved: Tensor = torch.linalg.solve_ex(matrix, self.mean.mT)[0]
        return solved.mT

    def gains(self, directions: Tensor) -> Tensor:
        """``m_k^H d_k`` of `directions` d, real and not negative, shape (batch, users)."""
        return (torch.view_as_real(self.mean) * torch.view_as_real(directions)).sum((-2, -1))

    def disturbance(self, signal: Tensor, w: Tensor) -> Tensor:
        """Power of all that each user receives besides its signal, shape (batch, users)."""
        sent = _as_rows(w.mT @ w.conj())
        total = (self.moments @ sent[..., None])[..., 0]
        return torch.maximum(total - signal, ROUNDING * total).clamp_min(torch.finfo(total.dtype).tiny)

    def update(self, amplitude: Tensor, w: Tensor) -> Tensor:
        """Weights and lengths that the iteration finds for precoders w, given each user's amplitude, shape (2, batch, users)."""
        signal = amplitude.square()
        disturbance = self.disturbance(signal, w)
        return torch.stack([signal / (signal + disturbance), amplitude]) / disturbance


def _further(before: Tensor, after: Tensor, steps: float) -> Tensor:
    """Go on from one state to the next, and as far again and again, in logarithms: ``steps`` of the same ratio."""
    ratio = after / before.clamp_min(torch.finfo(before.dtype).tiny)
    return after * ratio.clamp(1 / LARGEST_RATIO, LARGEST_RATIO) ** (steps - 1)


def _as_rows(matrices: Tensor) -> Tensor:
    """Entries of complex matrices (..., n, n) as real numbers, shape (..., 2 n^2)."""
    return torch.view_as_real(matrices.resolve_conj()).flatten(-3)
