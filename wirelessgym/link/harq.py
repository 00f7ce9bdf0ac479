"""Transmission of a batch of links that use different schemes, codeword by codeword."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wirelessgym.link.chain import receive
from wirelessgym.link.ldpc import code_for
from wirelessgym.link.mcs import HIGHEST_MCS, LOWEST_MCS, MCS_TABLE


def buffer_size(resource_elements: int) -> int:
    """Length of a soft buffer that holds the block of any MCS."""
    return max(code_for(scheme, resource_elements).buffer_size for scheme in MCS_TABLE[LOWEST_MCS : HIGHEST_MCS + 1])


def block_size(resource_elements: int) -> int:
    """Bits, with CRC, of the largest block."""
    return max(code_for(scheme, resource_elements).num_bits for scheme in MCS_TABLE[LOWEST_MCS : HIGHEST_MCS + 1])


def transmit(mcs: Tensor, number: Tensor, bits: Tensor, sinr: Tensor, noise: Tensor, soft: Tensor) -> tuple[Tensor, Tensor]:
    """Send every row's block once more; see `wirelessgym.link.chain.receive`.

    Rows with the same scheme and number of transmissions are one batch; there are at most some hundred such groups.

    Args:
        mcs: shape (batch,), int64.
        number: transmissions that came before, shape (batch,), int64.
        bits: shape (batch, `block_size`), bool; a block takes as many as it needs.
        sinr: shape (batch, subcarriers), linear.
        noise: shape (batch, resource elements), complex64, of unit variance.
        soft: shape (batch, `buffer_size`), float32; zeros where a block is new.

    Returns:
        Which blocks were decoded, shape (batch,), bool, and the new soft buffers.
    """
    decoded, soft = torch.zeros_like(mcs, dtype=torch.bool), soft.clone()
    for scheme, before in _groups(mcs, number):
        rows = ((mcs == scheme) & (number == before)).nonzero()[:, 0]
        code = code_for(MCS_TABLE[scheme], noise.shape[1])
        buffer = soft[rows, : code.buffer_size]
        decoded[rows], buffer = receive(code, bits[rows, : code.num_bits], sinr[rows], noise[rows], buffer, before)
        soft[rows, : code.buffer_size] = buffer
    return decoded, soft


def _groups(mcs: Tensor, number: Tensor) -> Sequence[tuple[int, int]]:
    return sorted(set(zip(mcs.tolist(), number.tolist(), strict=True)))
