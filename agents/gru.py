"""Gated recurrent units over the past slots of each antenna.

Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP, 2014.
As a predictor of channels, with four layers: arXiv 2412.20772; the number of hidden units is a choice
made here, as it isn't given there.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ._recurrent import RecurrentPredictor


@dataclass(eq=False, kw_only=True)
class GRU(RecurrentPredictor):
    """Predict with gated recurrent units; options as in `RecurrentPredictor`."""

    tasks = ("channel_prediction",)
    cell = nn.GRU
