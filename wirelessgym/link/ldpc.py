"""LDPC codes of 5G NR: encoding, rate matching with redundancy versions, and the soft buffer of HARQ.

Source: 3GPP TS 38.212 V18, sections 5.3.2 (encoding), 5.4.2.1 (bit selection, redundancy versions) and 5.4.2.2 (interleaving).
One code block, no limited buffer. Log-likelihood ratios are ``log P(b = 1) - log P(b = 0)``, as in `modulation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from wirelessgym.link.base_graph import CORE_ROWS, BaseGraph, base_graph, lifting_size, select_graph
from wirelessgym.link.decoder import ITERATIONS, LayeredDecoder
from wirelessgym.link.mcs import Scheme, transport_block_size

REDUNDANCY_VERSIONS = (0, 2, 3, 1)  # of the first transmission and the following ones
_START: dict[int, tuple[int, ...]] = {1: (0, 17, 33, 56), 2: (0, 13, 25, 43)}  # table 5.4.2.1-2, in units of Z
_PUNCTURED_COLUMNS = 2  # never sent


@dataclass(frozen=True)
class Code:
    """A code for blocks of ``num_bits``, sent in ``num_coded`` bits at a time.

    Attributes:
        graph: base graph with its lifting size.
        num_bits: information bits with CRC.
        num_coded: bits of one transmission, a multiple of ``bits_per_symbol``.
        bits_per_symbol: of the modulation, for the interleaver.
    """

    graph: BaseGraph
    num_bits: int
    num_coded: int
    bits_per_symbol: int

    @property
    def rate(self) -> float:
        """Information bits over bits of the first transmission."""
        return self.num_bits / self.num_coded

    @property
    def num_filler(self) -> int:
        """Bits known to be zero that fill the systematic columns up; never sent."""
        return self.graph.systematic_columns * self.graph.lifting - self.num_bits

    @property
    def buffer_size(self) -> int:
        """Length of the circular buffer, without filler bits."""
        return (self.graph.num_columns - _PUNCTURED_COLUMNS) * self.graph.lifting - self.num_filler

    def encode(self, bits: Tensor) -> Tensor:
        """Return the circular buffer of blocks.

        Args:
            bits: shape (batch, num_bits), bool.

        Returns:
            Shape (batch, buffer_size), bool.
        """
        graph, size = self.graph, self.graph.lifting
        padded = torch.nn.functional.pad(bits, (0, self.num_filler))
        columns: list[Tensor | None] = [*padded.unflatten(1, (-1, size)).unbind(1)]
        columns += [None] * (graph.num_columns - len(columns))

        def check(row: int) -> Tensor:
            """What the known columns of a row add up to."""
            total = torch.zeros_like(padded[:, :size])
            for column, shift in graph.blocks(row):
                if (known := columns[column]) is not None:
                    total = total ^ known.roll(-shift, 1)
            return total

        first = graph.systematic_columns
        core = [check(row) for row in range(CORE_ROWS)]
        # Summed over the core rows all parity columns but the first cancel, and of the first one shift is left (section 5.3.2).
        middle = 1 if graph.number == 1 else 2
        columns[first] = (core[0] ^ core[1] ^ core[2] ^ core[3]).roll(int(graph.shifts[middle, first]), 1)
        columns[first + 1] = check(0)
        columns[first + 3] = check(3)
        columns[first + 2] = check(2) if graph.number == 1 else check(1)
        for row in range(CORE_ROWS, graph.num_rows):
            columns[first + row] = check(row)
        word = torch.cat([column for column in columns if column is not None], 1)
        sent = torch.cat([word[:, : self.num_bits], word[:, first * size :]], 1)
        return sent[:, _PUNCTURED_COLUMNS * size :]

    def transmission(self, buffer: Tensor, number: int) -> Tensor:
        """Return the bits of transmission ``number`` (0 to 3) from the circular buffer, shape (batch, num_coded)."""
        return buffer[:, self._selected[number]]

    def collect(self, soft: Tensor, llrs: Tensor, number: int) -> Tensor:
        """Add the log-likelihood ratios of a transmission to the soft buffer of HARQ.

        Args:
            soft: what came before, shape (batch, buffer_size), float32; zeros for a new block.
            llrs: of the bits of transmission ``number``, shape (batch, num_coded), float32.
            number: 0 to 3.
        """
        return soft.index_add(1, self._selected[number], llrs)

    def decode(self, soft: Tensor, number: int, iterations: int = ITERATIONS) -> tuple[Tensor, Tensor]:
        """Decode the soft buffer after transmission ``number``.

        Returns:
            The blocks, shape (batch, num_bits), bool, and which of them satisfy all parity checks, shape (batch,), bool. Rows
            don't depend on one another.
        """
        size, first = self.graph.lifting, self.num_bits - _PUNCTURED_COLUMNS * self.graph.lifting
        decoder = self._decoders[number]
        ratios = soft.new_zeros(decoder.num_columns * size, len(soft))
        ratios[_PUNCTURED_COLUMNS * size : self.num_bits] = soft[:, :first].mT
        ratios[self.num_bits : self.num_bits + self.num_filler] = -KNOWN
        after = self.num_bits + self.num_filler
        parity = soft[:, first : first + len(ratios) - after].mT
        ratios[after : after + len(parity)] = parity
        bits, accepted = decoder(ratios, iterations)
        return bits[: self.num_bits].mT, accepted

    @cached_property
    def _selected(self) -> list[Tensor]:
        """Positions in the circular buffer of the bits of each transmission, in the order in which they are sent."""
        row = torch.arange(self.num_coded).view(self.bits_per_symbol, -1).mT.flatten()  # the interleaver
        return [(self._start(version) + row) % self.buffer_size for version in REDUNDANCY_VERSIONS]

    def _start(self, version: int) -> int:
        """Where a redundancy version starts, in the buffer without filler bits."""
        size = self.graph.lifting
        start = _START[self.graph.number][version] * size
        fillers_begin = self.num_bits - _PUNCTURED_COLUMNS * size
        return start if start < fillers_begin else max(fillers_begin, start - self.num_filler)

    @cached_property
    def _decoders(self) -> list[LayeredDecoder]:
        """One for each number of transmissions, with the rows whose parity bits were sent by then."""
        first = self.num_bits - _PUNCTURED_COLUMNS * self.graph.lifting
        sent = torch.zeros(self.graph.num_rows, dtype=torch.bool)
        sent[:CORE_ROWS] = True
        decoders = []
        for selected in self._selected:
            sent[(selected[selected >= first] - first) // self.graph.lifting] = True
            decoders.append(LayeredDecoder(self.graph, sent.nonzero()[:, 0].tolist()))
        return decoders


KNOWN = 200.0  # log-likelihood ratio of a bit that is known


@cache
def code_for(scheme: Scheme, resource_elements: int) -> Code:
    """Return the code of a scheme on one slot.

    Raises:
        ValueError: if the slot takes more than one code block.
    """
    payload = transport_block_size(scheme, resource_elements)
    num_bits = payload + (24 if payload > 3824 else 16)  # with CRC: section 7.2.1
    number = select_graph(payload, scheme.rate)
    graph = base_graph(number, lifting_size(number, num_bits))
    return Code(graph, num_bits, resource_elements * scheme.bits_per_symbol, scheme.bits_per_symbol)
