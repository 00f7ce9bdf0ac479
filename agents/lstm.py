"""Long short-term memory over the past slots of each antenna.

Source: Hochreiter, Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997.
As a predictor of channels, with four layers: arXiv 2412.20772 (it doesn't give the number of hidden units: a choice made here).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ._recurrent import RecurrentPredictor


@dataclass(eq=False, kw_only=True)
class LSTM(RecurrentPredictor):
    """Predict with long short-term memory cells; options as in `RecurrentPredictor`."""

    tasks = ("channel_prediction",)
    cell = nn.LSTM
