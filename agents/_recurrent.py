"""Recurrent predictors: one pass over the past, then a linear map from the last state to all future slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from torch import Tensor, nn

from ._learned_prediction import PerAntennaPredictor

Cell: TypeAlias = type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]


class _Network(nn.Module):
    def __init__(self, cell: Cell, layers: int, hidden: int, future: int, width: int) -> None:
        super().__init__()
        self.recurrent = cell(width, hidden, layers, batch_first=True)
        self.output = nn.Linear(hidden, future * width)
        self.future = future

    def forward(self, series: Tensor) -> Tensor:
        states, _ = self.recurrent(series)
        return self.output(states[:, -1]).unflatten(-1, (self.future, -1))


@dataclass(eq=False, kw_only=True)
class RecurrentPredictor(PerAntennaPredictor):
    """Predicts with a stack of recurrent layers.

    Args:
        layers: number of recurrent layers.
        hidden: units of each layer.

    Raises:
        ValueError: for fewer than one of either.
    """

    layers: int = 4
    hidden: int = 256
    cell: ClassVar[Cell]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 1 or self.hidden < 1:
            raise ValueError(f"layers, hidden: expected at least 1 each, got {self.layers}, {self.hidden}")

    def network(self, past: int, future: int, width: int) -> nn.Module:
        """See `PerAntennaPredictor.network`."""
        return _Network(self.cell, self.layers, self.hidden, future, width)
