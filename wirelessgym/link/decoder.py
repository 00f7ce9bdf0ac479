"""A layered decoder for quasi-cyclic LDPC codes: offset min-sum, rows of the base graph one after another.

The checks of one row of the base graph share no bit, so they are one batch of small operations. A block is done as soon as all
its checks hold, and leaves the batch. Only comparisons, additions and sign flips are made, so a block's bits don't depend on the
blocks beside it.

Source: Chen, Dholakia, Eleftheriou, Fossorier, Hu, "Reduced-complexity decoding of LDPC codes", IEEE Trans. Commun. 53(8), 2005
(offset min-sum); Hocevar, "A reduced complexity decoder architecture via layered decoding of LDPC codes", IEEE SiPS 2004.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wirelessgym.link.base_graph import BaseGraph

OFFSET = 0.4
ITERATIONS = 24  # with these two no scheme loses to the sum-product decoder with 20 flooding iterations
_CHECK_EVERY = 2  # iterations between two looks at the parity checks
_FAR = 1e9


class LayeredDecoder:
    """Decodes words of a base graph's first columns.

    Args:
        graph: base graph with its lifting size.
        rows: which rows to use. A row below the core has a parity bit of its own; while that isn't sent, the row says nothing.
    """

    def __init__(self, graph: BaseGraph, rows: Sequence[int]) -> None:
        self.num_columns = graph.systematic_columns + rows[-1] + 1
        self.lifting = graph.lifting
        offsets = torch.arange(graph.lifting)
        # For every row of the base graph: where the bits of its checks lie, shape (degree * lifting,).
        self.layers = [
            torch.cat([column * graph.lifting + (offsets + shift) % graph.lifting for column, shift in graph.blocks(row)])
            for row in rows
        ]

    @torch.no_grad()
    def __call__(self, llrs: Tensor, iterations: int = ITERATIONS) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            llrs: ``log P(b = 1) - log P(b = 0)``, shape (num_columns * lifting, batch), float32: the batch comes last.
            iterations: at most.

        Returns:
            Bits, shape (num_columns * lifting, batch), bool, and which words satisfy all checks, shape (batch,), bool.
        """
        total = llrs.neg()  # positive for zeros, as in the literature
        messages = [total.new_zeros(len(layer) // self.lifting, self.lifting, total.shape[1]) for layer in self.layers]
        bits = torch.zeros_like(llrs, dtype=torch.bool)
        accepted = torch.zeros(llrs.shape[1], dtype=torch.bool, device=llrs.device)
        left = torch.arange(llrs.shape[1], device=llrs.device)
        for iteration in range(1, iterations + 1):
            for number, layer in enumerate(self.layers):
                messages[number] = self._update(total, layer, messages[number])
            last = iteration == iterations
            if not last and iteration % _CHECK_EVERY:
                continue
            decided = total < 0
            good = self._satisfied(decided)
            done = torch.ones_like(good) if last else good
            if not done.any():
                continue
            bits[:, left[done]] = decided[:, done]
            accepted[left[done]] = good[done]
            if done.all():
                break
            left, total = left[~done], total[:, ~done].contiguous()
            messages = [message[:, :, ~done].contiguous() for message in messages]
        return bits, accepted

    def _update(self, total: Tensor, layer: Tensor, message: Tensor) -> Tensor:
        """Renew the messages of one layer, shape (degree, lifting, batch), and the sums at its bits, in place."""
        incoming = total.index_select(0, layer).view(message.shape).sub_(message)
        magnitude = incoming.abs()
        least, where = magnitude.min(0, keepdim=True)
        second = magnitude.scatter_(0, where, _FAR).amin(0, keepdim=True)
        outgoing = least.sub_(OFFSET).clamp_min_(0).expand(message.shape).scatter(0, where, second.sub_(OFFSET).clamp_min_(0))
        negative = incoming < 0
        odd = negative.sum(0, dtype=torch.uint8).bitwise_and_(1).bool()
        outgoing = torch.where(negative ^ odd, -outgoing, outgoing)
        total.index_copy_(0, layer, (incoming + outgoing).view(len(layer), -1))
        return outgoing

    def _satisfied(self, bits: Tensor) -> Tensor:
        """Which words satisfy all checks, shape (batch,), bool."""
        good = torch.ones(bits.shape[1], dtype=torch.bool, device=bits.device)
        for layer in self.layers:
            checks = bits.index_select(0, layer).view(-1, self.lifting, bits.shape[1])
            good &= ~checks.sum(0, dtype=torch.uint8).bitwise_and_(1).bool().any(0)
        return good
