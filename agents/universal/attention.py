"""Attention to an instruction that all sequences share, and to each sequence's own tokens, under one softmax.

The instruction's keys and values are never copied for every sequence: the queries of all sequences meet them in one product per
head. With few tokens per sequence that is several times faster than general attention kernels on repeated keys, backward most.

transformers finds the function by the name under which `register` puts it, and hands it the `Run` that was given to the model.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor

NAME = "wirelessgym"
KeysValues: TypeAlias = list[tuple[Tensor, Tensor]]


class Run:
    """What one run of a model's layers reads and leaves.

    Args:
        instruction: keys and values of every layer at an instruction's tokens, each of shape (1, key heads, tokens, width of a
            head), seen by all tokens of all sequences besides their own; None: no instruction.
        noted: filled with every layer's keys and values; None: nothing is noted.
    """

    def __init__(self, instruction: KeysValues | None = None, noted: KeysValues | None = None) -> None:
        self.instruction = instruction
        self.noted = noted
        self.layers = 0

    def layer(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor] | None:
        """Go on to the next layer, note its keys and values, and return the instruction's."""
        if self.noted is not None:
            self.noted.append((key, value))
        self.layers += 1
        return None if self.instruction is None else self.instruction[self.layers - 1]

    def check(self, layers: int) -> None:
        """Refuse a model whose layers didn't all ask: it would have gone without its instruction.

        Raises:
            ValueError: with the number of layers that did.
        """
        if self.layers != layers:
            raise ValueError(f"backbone: expected {layers} layers with exchangeable attention, got {self.layers}")


def register() -> None:
    """Make `attend` known to transformers, once per process."""
    from transformers import AttentionInterface

    if NAME not in AttentionInterface():  # type: ignore[no-untyped-call]
        AttentionInterface.register(NAME, attend)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    softcap: float | None = None,
    *,
    run: Run,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return softmax(scaling * Q K^T) V over the instruction's keys and the sequence's own.

    Args:
        module: the layer that asks.
        query: shape (sequences, heads, n, width of a head); heads are a multiple of the key heads, which serve them in order.
        key: shape (sequences, key heads, n, width of a head).
        value: likewise.
        attention_mask: which of its sequence's tokens each token sees, shape (sequences or 1, 1, n, n), bool.
        scaling: of the products; None: one over the root of the width.
        softcap: bound c of the products, c tanh(product / c), for models that have one.
        run: the instruction.

    Returns:
        Shape (sequences, n, heads, width of a head), and None where transformers expects weights.
    """
    instruction = run.layer(key, value)
    sequences, heads, n, width = query.shape
    groups = key.shape[1]
    scaling = width**-0.5 if scaling is None else scaling
    # Key heads first, so that all sequences' queries of a head are rows of one matrix.
    rows = (query * scaling).view(sequences, groups, heads // groups, n, width).transpose(0, 1)
    own = rows.reshape(groups, sequences, -1, width)
    scores = (own @ key.permute(1, 0, 3, 2)).view(groups, sequences, -1, n, n)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~attention_mask[None], -torch.inf)
    if instruction is None:
        weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype).flatten(2, 3)
        out = weights @ value.transpose(0, 1)
    else:
        keys, values = instruction[0][0], instruction[1][0]
        flat = own.flatten(1, 2)
        shared = flat @ keys.mT
        if softcap is not None:
            shared = softcap * torch.tanh(shared / softcap)
        length = keys.shape[1]
        together = torch.cat([shared.view(*scores.shape[:-1], length), scores], -1)
        weights = together.softmax(-1, dtype=torch.float32).to(value.dtype)
        to_instruction, to_own = weights.split([length, n], -1)
        out = (to_instruction.reshape(*flat.shape[:2], length) @ values).view_as(own)
        out = out + to_own.flatten(2, 3) @ value.transpose(0, 1)
    out = out.view(groups, sequences, -1, n, width).permute(1, 3, 0, 2, 4)
    return out.reshape(sequences, n, heads, width), None
