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
TINY = 1e-20  # a loading of a system without users


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
    noise_to_power = noise_power / tx_power
    errors = torch.view_as_real(covariance.resolve_conj()).flatten(2)
    present = active_users(mean.detach())
    w = start
    if w is None:
        w = unit_rows(_directions(mean, errors, present.to(noise_power.dtype), noise_to_power * present.sum(-1)))
    for _ in range(iterations):
        amplitude, signal, disturbance = _received(mean, errors, w, noise_to_power)
        weights = signal / (signal + disturbance) / disturbance
        directions = _directions(mean, errors, weights, noise_to_power * weights.sum(-1))
        w = directions * (amplitude / disturbance)[..., None]
    power = shares(w.abs().square().sum(-1), tx_power)
    return unit_rows(w) * amplitudes(power)[..., None]


def expected_rate_bound(mean: Tensor, covariance: Tensor, w: Tensor, noise_power: Tensor) -> Tensor:
    """What `covariance_wmmse` raises: a lower bound of each user's expected rate, shape (batch, users), bit/s/Hz."""
    power = w.abs().square().sum((-2, -1))
    # Noise is taken in proportion to the power in use, as in the iteration: the bound of a scaled precoder is the same.
    _, signal, disturbance = _received(mean, torch.view_as_real(covariance.resolve_conj()).flatten(2), w, noise_power / power)
    return torch.log2(1 + signal / disturbance)


def _received(mean: Tensor, errors: Tensor, w: Tensor, noise_to_power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Amplitude and power of each user's signal, and the power of all else that it receives, each of shape (batch, users)."""
    received = mean.conj() @ w.mT
    amplitude = received.diagonal(dim1=-2, dim2=-1)
    squared = received.abs().square()
    signal = squared.diagonal(dim1=-2, dim2=-1)
    # w^H C w summed over all precoders is the trace of C and sum_j w_j w_j^H, a real product of their entries.
    sent = torch.view_as_real((w.mT @ w.conj()).contiguous()).flatten(1)
    spread = (errors @ sent[..., None])[..., 0]
    noise = noise_to_power * w.abs().square().sum((-2, -1))
    disturbance = (squared - torch.diag_embed(signal)).sum(-1) + spread + noise[:, None]
    least = torch.maximum(ROUNDING * signal, torch.full_like(signal, torch.finfo(signal.dtype).tiny))
    return amplitude, signal, torch.maximum(disturbance, least)


def _directions(mean: Tensor, errors: Tensor, weights: Tensor, loading: Tensor) -> Tensor:
    """Rows ``(loading I + sum_k q_k (C_k + m_k m_k^H))^-1 m_k``, q being the ``weights``."""
    size = mean.shape[-1]
    spread = torch.view_as_complex((weights[:, None] @ errors).unflatten(-1, (size, size, 2)).squeeze(1))
    matrix = spread + (mean.mT * weights[:, None]) @ mean.conj()
    matrix = matrix + torch.diag_embed(loading.clamp_min(TINY)[:, None].expand(-1, size)).to(mean.dtype)
    result: Tensor = torch.linalg.solve(matrix, mean.mT).mT
    return result
