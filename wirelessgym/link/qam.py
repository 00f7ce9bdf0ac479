"""QAM over a channel that is known: bits to symbols, received symbols to log-likelihood ratios.

Source: 3GPP TS 38.211 V18, section 5.1. A square constellation's real and imaginary part carry different bits and are looked at
apart, which takes 2 sqrt(points) distances instead of as many as there are points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wirelessgym.modulation import SMALLEST_VARIANCE, constellation, llrs_of_logits

_NAMES = {2: "qpsk", 4: "16qam", 6: "64qam"}


def modulate(bits: Tensor, bits_per_symbol: int) -> Tensor:
    """Return unit-energy symbols, shape (batch, bits / bits_per_symbol), complex64.

    Args:
        bits: shape (batch, bits), bool.
        bits_per_symbol: 2, 4 or 6.
    """
    places = 2 ** torch.arange(bits_per_symbol - 1, -1, -1, device=bits.device)
    labels = (bits.unflatten(1, (-1, bits_per_symbol)) * places).sum(-1)
    return constellation(_NAMES[bits_per_symbol]).to(bits.device)[labels]


def demodulate(symbols: Tensor, variance: Tensor, bits_per_symbol: int) -> Tensor:
    """Return exact log-likelihood ratios ``log P(b = 1) - log P(b = 0)``, shape (batch, symbols * bits_per_symbol), float32.

    Args:
        symbols: equalised, shape (batch, symbols), complex64.
        variance: of each one's complex Gaussian error, same shape, float32.
        bits_per_symbol: 2, 4 or 6.
    """
    half = bits_per_symbol // 2
    label = torch.arange(2**half, device=symbols.device)
    spread = sum((label >> place & 1) << 2 * place + 1 for place in range(half))  # the real part's bits, zeros between them
    levels = constellation(_NAMES[bits_per_symbol]).to(symbols.device)[spread].real
    parts = torch.view_as_real(symbols)
    squared = (parts[..., None] - levels).square() / variance.clamp_min(SMALLEST_VARIANCE)[..., None, None]
    return llrs_of_logits(-squared).mT.flatten(1)  # real, imaginary, real, ...
