"""Optima of the multi-user downlink: water-filling, capacity bounds, and the structure of optimal linear precoders.

Throughout, ``csi`` has shape (batch, users, antennas) and user k receives ``h_k^H sum_j w_j s_j + n`` with
``h_k = csi[:, k]`` and noise of variance ``noise_power``. A further axis behind the batch, (batch, subcarriers, users,
antennas), holds parallel channels that share one power budget; ``noise_power`` is then that of each of them. Only K x K
matrices are formed (K users), so that no cost but one product grows with the antennas. Functions are generic in
precision: complex128 in, float64 out. Users whose row of ``csi`` is zero get nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wirelessgym.metrics import per_row


def unit_rows(x: Tensor) -> Tensor:
    """Scale each row (last axis) to unit norm; rows of zeros stay zero, and their gradient is zero."""
    squared = x.abs().square().sum(-1, keepdim=True)
    return x * torch.where(squared > 0, squared, torch.ones_like(squared)).rsqrt()


def amplitudes(powers: Tensor) -> Tensor:
    """Square roots of ``powers`` (not negative), whose gradient is zero instead of infinite where the power is zero."""
    return torch.where(powers > 0, powers, torch.ones_like(powers)).sqrt() * (powers > 0)


def water_filling(gains: Tensor, power: Tensor) -> Tensor:
    """Powers that maximise ``sum_k log(1 + p_k gains_k)`` under ``sum_k p_k = power``, ``p_k >= 0``.

    Args:
        gains: gain over noise of each channel, shape (batch, n), float, 1/W; not negative. Channels without gain get
            no power.
        power: shape (batch,), same dtype, W.

    Returns:
        Shape (batch, n), W. Source: Cover, Thomas, "Elements of Information Theory", 2nd ed., section 9.4.
    """
    floors = 1 / gains.clamp_min(torch.finfo(gains.dtype).tiny ** 0.5)
    lowest_first = floors.sort(-1).values
    count = torch.arange(1, gains.shape[-1] + 1, dtype=gains.dtype, device=gains.device)
    levels = (power[:, None] + lowest_first.cumsum(-1)) / count
    # Level n fills the n lowest floors; the right one is the last that stands above its own highest floor.
    filled = (levels > lowest_first).sum(-1, keepdim=True).clamp_min(1)
    level = levels.gather(-1, filled - 1)
    filling = (level - floors).clamp_min(0)
    return filling * torch.where(gains > 0, 1.0, 0.0).to(gains.dtype)


def interference_free_rate(csi: Tensor, noise_power: Tensor, tx_power: Tensor) -> Tensor:
    """Sum rate if users didn't interfere with each other: water-filling over the channel gains. No precoder exceeds it.

    Args:
        csi: shape (batch, users, antennas) or (batch, subcarriers, users, antennas), complex.
        noise_power: shape (batch,), W.
        tx_power: shape (batch,), W, over all subcarriers.

    Returns:
        Shape (batch,), bit/s/Hz, averaged over subcarriers.
    """
    gains = (csi.abs().square().sum(-1) / per_row(noise_power, csi.ndim - 1)).flatten(1)
    return torch.log2(1 + water_filling(gains, tx_power) * gains).sum(-1) / math.prod(csi.shape[1:-2])


def dpc_sum_capacity(csi: Tensor, noise_power: Tensor, tx_power: Tensor, iterations: int = 20) -> Tensor:
    """Sum capacity of the Gaussian broadcast channel, achieved by dirty-paper coding: no precoder exceeds it.

    It equals ``max log2 det(I + sum_k q_k h_k h_k^H / noise_power)`` over uplink powers with ``sum_k q_k <= tx_power``,
    which sum-power iterative water-filling solves. On several subcarriers the determinants multiply and the powers of all
    of them share ``tx_power``: each user then counts as one with an antenna per subcarrier and a block-diagonal channel.
    Of the published step, 1 over users, which always climbs but slowly, and the longer ones 1 and 1/2, each iteration
    takes the one that climbs highest. Every iterate is feasible, so the value grows towards the capacity from below.

    Args:
        csi: shape (batch, users, antennas) or (batch, subcarriers, users, antennas), complex.
        noise_power: shape (batch,), W.
        tx_power: shape (batch,), W, over all subcarriers.
        iterations: of the water-filling.

    Returns:
        Shape (batch,), bit/s/Hz, averaged over subcarriers. Source: Jindal, Rhee, Vishwanath, Jafar, Goldsmith, "Sum power
        iterative water-filling for multi-antenna Gaussian broadcast channels", IEEE Trans. Inf. Theory 51(4), 2005,
        algorithm 2.
    """
    users, subcarriers = csi.shape[-2], math.prod(csi.shape[1:-2])
    gram = _gram(csi) / per_row(noise_power, csi.ndim)
    identity = torch.eye(users, dtype=csi.dtype, device=csi.device)
    powers = per_row(tx_power / (subcarriers * users), gram.ndim - 1).expand(gram.shape[:-1])
    steps = torch.tensor([1, 1 / 2, 1 / users], dtype=gram.real.dtype, device=csi.device).view(-1, *[1] * powers.ndim)
    rows = torch.arange(len(csi), device=csi.device)
    for _ in range(iterations):
        filled = water_filling(_uplink_gains(gram, powers, identity).flatten(1), tx_power).reshape(powers.shape)
        candidates = powers + steps * (filled - powers)
        powers = candidates[_log_determinant(gram, candidates, identity).argmax(0), rows]
    return _log_determinant(gram, powers, identity) / (subcarriers * math.log(2))


def _log_determinant(gram: Tensor, powers: Tensor, identity: Tensor) -> Tensor:
    """``log det(I + gram diag(powers))``, nat, summed over subcarriers where ``gram`` (batch, subcarriers, ...) has them."""
    value: Tensor = torch.linalg.slogdet(identity + gram * powers[..., None, :])[1]
    return value.sum(-1) if gram.ndim > 3 else value


def _uplink_gains(gram: Tensor, powers: Tensor, identity: Tensor) -> Tensor:
    """Gain over noise and interference of each uplink user: ``h_k^H (I + sum_{j != k} q_j h_j h_j^H)^-1 h_k``."""
    with_own: Tensor = torch.linalg.solve(identity + gram * powers[..., None, :], gram).diagonal(dim1=-2, dim2=-1).real
    # The inversion lemma takes the user's own signal out of the noise; 1 - q g is 1 / (1 + SINR), hence positive.
    return with_own.clamp_min(0) / (1 - powers * with_own).clamp_min(torch.finfo(powers.dtype).eps)


def structured_precoder(csi: Tensor, power: Tensor, regularisation: Tensor, noise_power: Tensor, tx_power: Tensor) -> Tensor:
    """The precoder ``w_k = sqrt(p_k) u_k``, ``u_k`` along ``(I + sum_i lambda_i h_i h_i^H / noise_power)^-1 h_k``.

    Two numbers per user replace a precoding vector without loss: every precoder that maximises a function of the
    SINRs that grows with each of them has this form for some p and lambda. ``p`` and ``lambda`` are scaled to sum to
    ``tx_power`` over users and subcarriers; a row of zeros stands for equal shares.

    Args:
        csi: shape (batch, users, antennas) or (batch, subcarriers, users, antennas), complex.
        power: p up to a factor, shape (batch, users) or (batch, subcarriers, users), not negative.
        regularisation: lambda up to a factor, likewise.
        noise_power: shape (batch,), W.
        tx_power: shape (batch,), W, over all subcarriers.

    Returns:
        Precoders of the shape of ``csi``, square root of watt; power meant for a user whose ``csi`` is zero is not
        spent. Sources: Bjornson, Bengtsson, Ottersten, "Optimal multiuser transmit beamforming: a difficult problem
        with a simple solution structure", IEEE Signal Process. Mag. 31(4), 2014; arXiv 2412.20772, eqs. (4) and (24).
    """
    power, regularisation = shares(power, tx_power), shares(regularisation, tx_power)
    identity = torch.eye(csi.shape[-2], dtype=csi.dtype, device=csi.device)
    loaded = identity + (csi @ csi.mH) * (regularisation / per_row(noise_power, csi.ndim - 1))[..., None, :]
    return unit_rows(torch.linalg.solve(loaded, csi)) * amplitudes(power)[..., None]


def shares(weights: Tensor, total: Tensor) -> Tensor:
    """Scale ``weights`` (batch, ...), not negative, to sum to ``total`` (batch,); equal shares where all are zero."""
    flat = weights.flatten(1)
    flat = torch.where((flat > 0).any(-1, keepdim=True), flat, torch.ones_like(flat))
    return (flat / flat.sum(-1, keepdim=True) * total[:, None]).reshape(weights.shape)


def structure_of(csi: Tensor, precoder: Tensor, noise_power: Tensor, tx_power: Tensor) -> tuple[Tensor, Tensor]:
    """The ``(p, lambda)`` with which `structured_precoder` gives a stationary point of the sum rate back.

    ``p_k = |w_k|^2``, and ``lambda_k`` is in proportion to ``S_k / (T_k (T_k - S_k))``, with ``S_k`` the signal
    power that user k receives and ``T_k`` all it receives, noise included: the user's WMMSE weight times its squared
    receive filter. For other precoders this is one step of the WMMSE iteration towards such a point.

    Args:
        csi: shape (batch, users, antennas), complex.
        precoder: same shape.
        noise_power: shape (batch,), W.
        tx_power: shape (batch,), W.

    Returns:
        p and lambda, each of shape (batch, users), W; lambda sums to ``tx_power``. Source: Shi, Razaviyayn, Luo, He,
        "An iteratively weighted MMSE approach to distributed sum-utility maximization for a MIMO interfering
        broadcast channel", IEEE Trans. Signal Process. 59(9), 2011, table I.
    """
    received = (csi.conj() @ precoder.mT).abs().square()
    signal = received.diagonal(dim1=-2, dim2=-1)
    disturbance = (received - torch.diag_embed(signal)).sum(-1) + noise_power[:, None]
    weights = signal / (signal + disturbance) / disturbance
    return precoder.abs().square().sum(-1), shares(weights, tx_power)


def _gram(csi: Tensor) -> Tensor:
    """Entry (k, j) is ``h_k^H h_j``."""
    return csi.conj() @ csi.mT
