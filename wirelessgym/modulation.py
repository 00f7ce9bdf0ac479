"""Gray-mapped QAM: points, bit labels, decisions, posterior moments, log-likelihood ratios and the rate they support.

Point n carries the binary digits of n, most significant first, as in 3GPP TS 38.211, section 5.1 (even digits choose
the real part, odd digits the imaginary part). Log-likelihood ratios are ``log P(b = 1) - log P(b = 0)``. Points have
unit mean energy.
"""

from __future__ import annotations

import torch
from torch import Tensor

BITS_PER_SYMBOL = {"qpsk": 2, "16qam": 4, "64qam": 6}
SMALLEST_VARIANCE = 1e-7


def constellation(name: str) -> Tensor:
    """Return the points of ``"qpsk"``, ``"16qam"`` or ``"64qam"``, shape (points,), complex64, ordered by bit label.

    Raises:
        ValueError: for another name.
    """
    if name not in BITS_PER_SYMBOL:
        raise ValueError(f"modulation: expected one of {', '.join(BITS_PER_SYMBOL)}, got {name!r}")
    num_bits = BITS_PER_SYMBOL[name]
    signs = 1 - 2 * bits_of(torch.arange(2**num_bits), num_bits).to(torch.float32)
    levels = torch.complex(_gray_level(signs[:, 0::2]), _gray_level(signs[:, 1::2]))
    return levels / levels.abs().square().mean().sqrt()


def _gray_level(signs: Tensor) -> Tensor:
    """Odd-integer amplitude of each row of signs: ``s_1 (2^(n-1) - s_2 (2^(n-2) - ...))``, TS 38.211, 5.1."""
    level = signs[:, -1]
    for place in range(1, signs.shape[1]):
        level = signs[:, -1 - place] * (2**place - level)
    return level


def bits_of(indices: Tensor, num_bits: int) -> Tensor:
    """Return the labels of point ``indices`` (int64, any shape): (..., num_bits), bool, most significant first."""
    places = torch.arange(num_bits - 1, -1, -1, device=indices.device)
    return (indices[..., None] >> places & 1).bool()


def nearest(symbols: Tensor, points: Tensor) -> Tensor:
    """Return the index of the point nearest to each of ``symbols`` (complex, any shape): same shape, int64."""
    return (symbols[..., None] - points).abs().square().argmin(-1)


def log_likelihoods(estimate: Tensor, variance: Tensor, points: Tensor) -> Tensor:
    """Log-likelihood of each point up to a constant: ``-|estimate - point|^2 / variance``, for complex Gaussian noise.

    Args:
        estimate: unbiased observation of a symbol, any shape, complex.
        variance: of its error, same shape or one that broadcasts, float; counts as 1e-7 where it is less, which keeps
            ratios finite.
        points: shape (points,), complex.

    Returns:
        Shape (..., points), float.
    """
    return -(estimate[..., None] - points).abs().square() / variance[..., None].clamp_min(SMALLEST_VARIANCE)


def posterior_mean_variance(estimate: Tensor, variance: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of a symbol, all points being equally likely, given ``estimate`` with complex Gaussian error.

    The mean is the estimate of least mean square error. Arguments as in `log_likelihoods`.

    Returns:
        Mean (complex) and variance (float), both of the shape of ``estimate``.
    """
    probabilities = torch.softmax(log_likelihoods(estimate, variance, points), -1)
    mean = (probabilities * points).sum(-1)
    return mean, (probabilities * (points - mean[..., None]).abs().square()).sum(-1)


def llrs(estimate: Tensor, variance: Tensor, points: Tensor) -> Tensor:
    """Exact log-likelihood ratios of a symbol's bits; arguments as in `log_likelihoods`, result (..., bits), float."""
    return llrs_of_logits(log_likelihoods(estimate, variance, points))


def llrs_of_logits(logits: Tensor) -> Tensor:
    """Log-likelihood ratios of the bits, from the log-probability of each point up to a constant.

    Args:
        logits: shape (..., points), float.

    Returns:
        Shape (..., bits), float.
    """
    num_points = logits.shape[-1]
    num_bits = num_points.bit_length() - 1
    labels = bits_of(torch.arange(num_points, device=logits.device), num_bits).mT
    out_of_play = torch.tensor(-torch.inf, dtype=logits.dtype, device=logits.device)
    one = torch.where(labels, logits[..., None, :], out_of_play).logsumexp(-1)
    zero = torch.where(labels, out_of_play, logits[..., None, :]).logsumexp(-1)
    return one - zero


def generalised_mutual_information(llrs: Tensor, bits: Tensor) -> Tensor:
    """Rate that bit-interleaved coded modulation reaches when a decoder trusts ``llrs``.

    It is ``sum_i 1 - log2(1 + exp(-l_i))``, where ``l_i`` is the ratio signed so that positive means right. A sample
    average of the result estimates the rate; single values may be negative; ratios that claim too much are punished.

    Args:
        llrs: shape (..., bits), float, ``log P(b = 1) - log P(b = 0)``.
        bits: same shape, bool.

    Returns:
        Shape (...), bit per symbol. Source: Szczecinski, Alvarado, "Bit-Interleaved Coded Modulation", Wiley, 2015,
        theorem 4.11 with unit scaling of the ratios.
    """
    signed = torch.where(bits, llrs, -llrs)
    return (1 + torch.nn.functional.logsigmoid(signed) / torch.log(torch.full_like(signed, 2))).sum(-1)
