"""Sionna's own decoder of the same codes, for tests and benchmarks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wirelessgym.link.ldpc import Code


class SumProduct:
    """Sionna's flooding decoder with the exact (phi) check-node update.

    Args:
        code: what is decoded; its first transmissions only.
        iterations: of the decoder.
    """

    def __init__(self, code: Code, iterations: int = 20) -> None:
        with torch.random.fork_rng(devices=[]):  # the first import of Sionna reseeds torch's global generator
            from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
        graph = f"bg{code.graph.number}"
        self.encoder: Any = LDPC5GEncoder(code.num_bits, code.num_coded, num_bits_per_symbol=code.bits_per_symbol, bg=graph)
        self._decoder: Any = LDPC5GDecoder(self.encoder, num_iter=iterations)

    def decode(self, llrs: Tensor) -> Tensor:
        """Decode first transmissions.

        Args:
            llrs: ``log P(b = 1) - log P(b = 0)`` in the order of sending, shape (batch, num_coded), float32.

        Returns:
            Blocks, shape (batch, num_bits), bool.
        """
        bits: Tensor = self._decoder(llrs).bool()
        return bits
