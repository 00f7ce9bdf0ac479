"""The paper's transformer encoder: self-attention whose heads are wider in sum than the tokens, each layer normalised first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .._layers import mlp


class Encoder(nn.Module):
    """Self-attention layers over a set of tokens.

    Args:
        width: of the tokens.
        depth: number of layers.
        heads: of attention, in each layer.
        head_width: of each head.
        hidden: units of each layer's fully connected part.
    """

    def __init__(self, width: int, depth: int, heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, heads, head_width, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return tokens of the same shape.

        Args:
            tokens: shape (batch, n, width), float32.
            present: which of them are seen by the others, shape (batch, n), bool.
        """
        seen = present[:, None, None] | torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)
        for layer in self.layers:
            tokens = layer(tokens, seen)
        normalised: Tensor = self.norm(tokens)
        return normalised


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.output = nn.Linear(heads * head_width, width)
        self.connected = nn.Sequential(nn.LayerNorm(width), mlp(width, hidden, width))

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        split = self.queries_keys_values(self.attention_norm(tokens)).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        attended = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        tokens = tokens + self.output(attended.transpose(1, 2).flatten(-2))
        changed: Tensor = self.connected(tokens)
        return tokens + changed
