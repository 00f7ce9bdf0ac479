"""The whole link of one slot: bits, code, symbols, fading, noise, log-likelihood ratios, soft buffer, decoder."""

from __future__ import annotations

import torch
from torch import Tensor

from wirelessgym.link.decoder import ITERATIONS
from wirelessgym.link.ldpc import Code
from wirelessgym.link.qam import demodulate, modulate


def receive(
    code: Code, bits: Tensor, sinr: Tensor, noise: Tensor, soft: Tensor, number: int, iterations: int = ITERATIONS
) -> tuple[Tensor, Tensor]:
    """Send a block once more and try to decode it.

    The receiver knows the channel of every resource element. Errors are found without fail, as by a CRC that never misses one.

    Args:
        code: of the block.
        bits: sent, shape (batch, code.num_bits), bool.
        sinr: on each subcarrier, linear, shape (batch, subcarriers); symbols are laid on them one after another, again and again.
        noise: unit-variance complex Gaussian, shape (batch, symbols), complex64.
        soft: buffer from earlier transmissions, shape (batch, code.buffer_size), float32; zeros for a new block.
        number: how many transmissions came before, 0 to 3.
        iterations: of the decoder, at most.

    Returns:
        Which blocks were decoded, shape (batch,), bool, and the new buffer.
    """
    symbols = modulate(code.transmission(code.encode(bits), number), code.bits_per_symbol)
    variance = 1 / sinr.repeat(1, -(-symbols.shape[1] // sinr.shape[1]))[:, : symbols.shape[1]]
    received = torch.view_as_complex(torch.view_as_real(symbols) + torch.view_as_real(noise) * variance.sqrt()[..., None])
    soft = code.collect(soft, demodulate(received, variance, code.bits_per_symbol), number)
    decoded, _ = code.decode(soft, number, iterations)
    return (decoded == bits).all(-1), soft
