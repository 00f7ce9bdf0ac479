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

import torch
from torch import Tensor

from wirelessgym.capacity import amplitudes, shares, unit_rows

from ._linear import active_users

ROUNDING = 1e-7  # of float32: no signal stands further above its disturbance
TINY = 1e-20  # keeps the matrix of a row without users regular


def covariance_wmmse(
    mean: Tensor, covariance: Tensor, noise_power: Tensor, tx_power: Tensor, iterations: int = 40, start: Tensor | None = None
) -> Tensor:
    """Precoders that raise the lower bound of the expected sum rate with every iteration.

    The coordinates may be any orthonormal ones (antennas, beams). Gradients pass through all iterations.

    Args:
        mean: m, shape (batch, users, n), complex; rows of zeros are no users, and their covariances should be zero too.
        covariance: C, shape (batch, users, n, n), same dtype, Hermitian, positive semidefinite.
        noise_power: shape (batch,), W.
        tx_power: shape (batch,), W.
        iterations: at least 1.
        start: precoders to begin with, of the shape of ``mean``; by default regularised zero-forcing that counts the covariances
            as noise, with equal power.

    Returns:
        Shape (batch, users, n), square root of watt, ``sum_k |w_k|^2 = tx_power`` where there is a user.
    """
    moments = _moments(mean, covariance, noise_power / tx_power)
    w = start
    if w is None:
        w = unit_rows(_directions(mean, moments, active_users(mean.detach()).to(noise_power.dtype)))
    for _ in range(iterations):
        amplitude, signal, disturbance = _received(mean, moments, w)
        w = _directions(mean, moments, signal / (signal + disturbance) / disturbance) * (amplitude / disturbance)[..., None]
    power = shares(w.abs().square().sum(-1), tx_power)
    return unit_rows(w) * amplitudes(power)[..., None]


def expected_rate_bound(mean: Tensor, covariance: Tensor, w: Tensor, noise_power: Tensor) -> Tensor:
    """What `covariance_wmmse` raises: a lower bound of each user's expected rate, shape (batch, users), bit/s/Hz."""
    # Noise is taken in proportion to the power in use, as in the iteration.
    moments = _moments(mean, covariance, noise_power / w.abs().square().sum((-2, -1)))
    _, signal, disturbance = _received(mean, moments, w)
    return torch.log2(1 + signal / disturbance)


def _moments(mean: Tensor, covariance: Tensor, noise_to_power: Tensor) -> Tensor:
    """``C_k + m_k m_k^H + noise I`` in real numbers, shape (batch, users, 2 n^2).

    The trace of its product with ``sum_j w_j w_j^H`` is all the power that user k receives; both are Hermitian, so the trace is a
    real inner product of their entries.
    """
    noise = torch.diag_embed(noise_to_power[:, None, None].expand(mean.shape)).to(mean.dtype)
    return torch.view_as_real(covariance + mean[..., None] * mean.conj()[..., None, :] + noise).flatten(2)


def _received(mean: Tensor, moments: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Amplitude and power of each user's signal, and the power of all else that it receives, each of shape (batch, users)."""
    amplitude = (mean.conj() * w).sum(-1)
    signal = amplitude.real.square() + amplitude.imag.square()
    sent = torch.view_as_real(w.mT @ w.conj()).flatten(1)
    total = (moments @ sent[..., None])[..., 0]
    return amplitude, signal, torch.maximum(total - signal, ROUNDING * total).clamp_min(torch.finfo(total.dtype).tiny)


def _directions(mean: Tensor, moments: Tensor, weights: Tensor) -> Tensor:
    """Rows ``(sum_j q_j (C_j + m_j m_j^H + noise I))^-1 m_k``, q being the ``weights``."""
    size = mean.shape[-1]
    matrix = torch.view_as_complex((weights[:, None] @ moments).unflatten(-1, (size, size, 2)).squeeze(1))
    regular = matrix + TINY * torch.eye(size, dtype=mean.dtype, device=mean.device)
    result: Tensor = torch.linalg.solve(regular, mean.mT).mT
    return result
