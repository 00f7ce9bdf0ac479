"""A plain recurrent network over the past slots of each antenna.

Source: Elman, "Finding structure in time", Cognitive Science 14(2), 1990.
As a predictor of channels, with four layers: arXiv 2412.20772 (it doesn't give the number of hidden units: a choice made here).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ._recurrent import RecurrentPredictor


@dataclass(eq=False, kw_only=True)
class RNN(RecurrentPredictor):
    """Predict with tanh units that feed themselves back; options as in `RecurrentPredictor`."""

    tasks = ("channel_prediction",)
    cell = nn.RNN
