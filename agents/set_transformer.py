"""The universal agent's heads on a small transformer in place of the language model, to tell what the language model contributes.

Tokens are a set: no positions, so that the order of users or bins doesn't matter. Source: Lee et al., "Set transformer: a
framework for attention-based permutation-invariant neural networks", ICML 2019 (self-attention blocks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .universal.headed import HeadedAgent


@dataclass(eq=False, kw_only=True)
class SetTransformer(HeadedAgent):
    """Does every task with one small transformer.

    Args:
        width: of the tokens.
        layers: of self-attention.
        heads: of attention.
        preset: as in `universal`.
        extra_heads: as in `universal`.
        device: as in `universal`.

    Raises:
        ValueError: for sizes below 1, or a width that the heads can't share.
    """

    width: int = 192
    layers: int = 4
    heads: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.width, self.layers, self.heads) < 1 or self.width % self.heads:
            raise ValueError(
                "set_transformer: expected width, layers and heads of at least 1, and a width divisible by heads, "
                f"got width {self.width}, layers {self.layers}, heads {self.heads}"
            )

    def make_backbone(self) -> tuple[torch.nn.Module | None, int]:
        """Return the transformer, and its width."""
        return _Blocks(self.width, self.layers, self.heads), self.width


class _Blocks(torch.nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = torch.nn.TransformerEncoder(layer, layers, torch.nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(
        self, instruction: str, tokens: Tensor, ordered: bool, mask: Tensor | None, texts: Sequence[str] | None = None
    ) -> Tensor:
        """Return what to add to the tokens; no words are read. Absent tokens are seen by none but themselves."""
        hidden: Tensor = self.blocks(tokens, src_key_padding_mask=None if mask is None else ~mask)
        return hidden
