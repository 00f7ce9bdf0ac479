"""Attention to an instruction that all sequences share, to a text of each sequence, and to its own tokens, under one softmax.

The instruction's keys and values are never copied for every sequence: the queries of all sequences meet them in one product per
head. With few tokens per sequence that is several times faster than general attention kernels on repeated keys, most of all
backward. Texts that differ between sequences are read once each; a sequence then picks its text's keys and values.

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
        texts: keys and values of every layer at the tokens of distinct texts, each of shape (texts, key heads, tokens, width of
            a head); the attention mask says which of them a sequence sees, before those of its own tokens. None: no texts.
        chosen: which of the texts each sequence has, shape (sequences,), int64.
        noted: filled with every layer's keys and values; None: nothing is noted.
    """

    def __init__(
        self,
        instruction: KeysValues | None = None,
        texts: KeysValues | None = None,
        chosen: Tensor | None = None,
        noted: KeysValues | None = None,
    ) -> None:
        self.instruction = instruction
        self.texts, self.chosen = texts, chosen
        self.noted = noted
        self.layers = 0

    def layer(self, key: Tensor, value: Tensor) -> tuple[tuple[Tensor, Tensor] | None, Tensor, Tensor]:
        """Go on to the next layer and note its keys and values; return the instruction's, and those with the texts' in front."""
        if self.noted is not None:
            self.noted.append((key, value))
        layer, self.layers = self.layers, self.layers + 1
        if self.texts is not None and self.chosen is not None:
            text_key, text_value = self.texts[layer]
            key = torch.cat([text_key[self.chosen], key], 2)
            value = torch.cat([text_value[self.chosen], value], 2)
        return None if self.instruction is None else self.instruction[layer], key, value

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
    module: torch.nn.Module | None,
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
    """Return softmax(scaling * Q K^T) V over the keys of the instruction, of the sequence's text and of its own tokens.

    Args:
        module: the layer that asks; unused.
        query: shape (sequences, heads, n, width of a head); heads are a multiple of the key heads, which serve them in order.
        key: shape (sequences, key heads, n, width of a head).
        value: likewise.
        attention_mask: which tokens of its text and its sequence each token sees, shape (sequences or 1, 1, n, m), bool, with m
            the number of both.
        scaling: of the products; None: one over the root of the width.
        softcap: bound c of the products, c tanh(product / c), for models that have one.
        run: the instruction, and the texts.

    Returns:
        Shape (sequences, n, heads, width of a head), and None where transformers expects weights.
    """
    instruction, key, value = run.layer(key, value)
    sequences, heads, n, width = query.shape
    groups, m = key.shape[1:3]
    scaling = width**-0.5 if scaling is None else scaling
    # Key heads first, so that all sequences' queries of a head are rows of one matrix.
    rows = (query * scaling).view(sequences, groups, heads // groups, n, width).transpose(0, 1)
    own = rows.reshape(groups, sequences, -1, width)
    scores = (own @ key.permute(1, 0, 3, 2)).view(groups, sequences, -1, n, m)
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
        to_instruction, to_own = weights.split([length, m], -1)
        out = (to_instruction.reshape(*flat.shape[:2], length) @ values).view_as(own)
        out = out + to_own.flatten(2, 3) @ value.transpose(0, 1)
    out = out.view(groups, sequences, -1, n, width).permute(1, 3, 0, 2, 4)
    return out.reshape(sequences, n, heads, width), None


def visible_tokens(n: int, ordered: bool, mask: Tensor | None) -> Tensor:
    """Which of n tokens each of them sees, shape (sequences or 1, 1, n, n), bool."""
    visible = torch.ones(n, n, dtype=torch.bool)
    visible = (visible.tril() if ordered else visible)[None, None]
    if mask is None:
        return visible
    return visible.to(mask.device) & mask[:, None, None] | torch.eye(n, dtype=torch.bool, device=mask.device)


def behind(prompt_length: int, visible: Tensor) -> Tensor:
    """Extend what data tokens see to a prompt in front of them, which sees itself causally and no data."""
    prompt = visible_tokens(prompt_length, ordered=True, mask=None).to(visible.device)
    n = visible.shape[-1]
    above = torch.cat([prompt, prompt.new_zeros(1, 1, prompt_length, n)], -1).expand(len(visible), -1, -1, -1)
    return torch.cat([above, torch.cat([visible.new_ones(len(visible), 1, n, prompt_length), visible], -1)], 2)
