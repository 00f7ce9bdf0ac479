"""A transformer that predicts all future slots of an antenna at once.

Sources: Zhou et al., "Informer: beyond efficient transformer for long sequence time-series forecasting", AAAI, 2021: the decoder
gets the latest slots and zeros in place of those to predict; with full attention in place of the sparse one: Jiang, Cui, Ng, Dai,
"Accurate channel prediction based on transformer: making mobility negligible", IEEE J. Sel. Areas Commun. 40(9), 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ._learned_prediction import PerAntennaPredictor, TokenEmbedding


class _Network(nn.Module):
    def __init__(self, agent: Transformer, past: int, future: int, inputs: int) -> None:
        super().__init__()
        self.latest, self.future = agent.label_len, future
        self.past_tokens = TokenEmbedding(inputs, agent.width, past)
        self.future_tokens = TokenEmbedding(inputs, agent.width, agent.label_len + future)
        shape = (agent.width, agent.heads, 4 * agent.width)
        # Every step uses fresh episodes, so there is no overfitting for dropout to prevent.
        self.encoder = nn.ModuleList(
            nn.TransformerEncoderLayer(*shape, dropout=0.0, activation="gelu", batch_first=True)
            for _ in range(agent.encoder_layers)
        )
        self.decoder = nn.ModuleList(
            nn.TransformerDecoderLayer(*shape, dropout=0.0, activation="gelu", batch_first=True)
            for _ in range(agent.decoder_layers)
        )
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(agent.width), nn.LayerNorm(agent.width)
        self.output = nn.Linear(agent.width, inputs)

    def forward(self, series: Tensor) -> Tensor:
        past = self.past_tokens(series)
        for layer in self.encoder:
            past = layer(past)
        past = self.encoder_norm(past)
        empty = series.new_zeros(len(series), self.future, series.shape[-1])
        tokens = self.future_tokens(torch.cat([series[:, series.shape[1] - self.latest :], empty], 1))
        for layer in self.decoder:
            tokens = layer(tokens, past)
        return self.output(self.decoder_norm(tokens[:, -self.future :]))


@dataclass(eq=False, kw_only=True)
class Transformer(PerAntennaPredictor):
    """Predict with a parallel encoder and decoder.

    Args:
        width: of the tokens; four times that inside the feed-forward parts.
        heads: of the attention; they divide the width.
        encoder_layers: over the past slots.
        decoder_layers: over the latest and the future slots.
        label_len: how many of the latest slots the decoder sees before the empty future ones.

    Raises:
        ValueError: for an option out of range.
    """

    width: int = 128
    heads: int = 8
    encoder_layers: int = 3
    decoder_layers: int = 2
    label_len: int = 12
    tasks = ("channel_prediction",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.width, self.heads, self.encoder_layers, self.decoder_layers) < 1 or self.label_len < 0:
            raise ValueError(
                "width, heads, encoder_layers, decoder_layers: expected at least 1 each, label_len at least 0, got "
                f"{self.width}, {self.heads}, {self.encoder_layers}, {self.decoder_layers}, {self.label_len}"
            )
        if self.width % self.heads:
            raise ValueError(f"heads: expected a divisor of the width {self.width}, got {self.heads}")

    def network(self, past: int, future: int, width: int) -> nn.Module:
        """See `PerAntennaPredictor.network`.

        Raises:
            ValueError: if the decoder should see more slots than there are.
        """
        if self.label_len > past:
            raise ValueError(f"label_len: expected at most the {past} past slots of the task, got {self.label_len}")
        return _Network(self, past, future, width)
