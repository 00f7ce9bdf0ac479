"""What the learned channel predictors of the literature share: every antenna is a series of its own.

An antenna's slot is a vector of ``2 subcarriers`` reals, (re, im) of one subcarrier after the other. Each antenna of an episode
becomes a row of the batch, normalised by the mean and deviation of its own past; what antennas have in common is not used. So a
row's statistics don't depend on the array, and training may use a small one. Source: Liu et al., "LLM4CP", J. Commun. Inf. Netw.
9(2), 2024, and arXiv 2412.20772, whose code takes mean and deviation over a whole batch; then rows would depend on each other.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from wirelessgym.fields import Action, Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.spec import TaskSpec

from ._prediction import num_future
from ._sizes import SizedNetwork


class _PerAntenna(SizedNetwork):
    def __init__(self, network: nn.Module, past: int, future: int, subcarriers: int) -> None:
        super().__init__(past=past, future=future, subcarriers=subcarriers)
        self.network = network


@dataclass(eq=False, kw_only=True)
class PerAntennaPredictor(LearnedAgent):
    """Predicts each antenna's channel separately. The noise power is not used."""

    @abstractmethod
    def network(self, past: int, future: int, width: int) -> nn.Module:
        """Return a module that maps series, (rows, past, width) float32, to the future, (rows, future, width)."""

    def build(self, task: TaskSpec) -> nn.Module:
        """Return fresh weights for the task's slots and subcarriers."""
        past, _, subcarriers = next(field.shape for field in task.observation_fields if field.name == "csi")
        future = num_future(task)
        return _PerAntenna(self.network(past, future, 2 * subcarriers), past, future, subcarriers)

    def forward(self, task: TaskSpec, obs: Obs) -> Action:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64.

        Raises:
            ValueError: for other numbers of slots or subcarriers than those of the first task.
        """
        csi = obs["csi"]
        weights = cast(_PerAntenna, self.weights(task))
        weights.require(self.name, past=csi.shape[1], future=num_future(task), subcarriers=csi.shape[3])
        standard = Standardised(csi)
        return standard.restored(weights.network(standard.series))


class Standardised:
    """Channels as series per antenna, each with a mean of zero and a deviation of one over its real numbers.

    Args:
        csi: shape (batch, past, antennas, subcarriers), complex64.

    Attributes:
        series: shape (batch * antennas, past, 2 subcarriers), float32.
    """

    series: Tensor

    def __init__(self, csi: Tensor) -> None:
        self._batch = len(csi)
        series = torch.view_as_real(csi.transpose(1, 2).contiguous()).flatten(-2).flatten(0, 1)
        self._mean = series.flatten(1).mean(-1)[:, None, None]
        centred = series - self._mean
        power = centred.square().flatten(1).mean(-1)
        self._deviation = power.clamp_min(torch.finfo(power.dtype).tiny).sqrt()[:, None, None]
        self.series = centred / self._deviation

    def restored(self, series: Tensor) -> Tensor:
        """Map standardised series (batch * antennas, slots, 2 subcarriers) to channels (batch, slots, antennas, subcarriers)."""
        numbers = (series.float() * self._deviation + self._mean).unflatten(-1, (-1, 2)).contiguous()
        return torch.view_as_complex(numbers).unflatten(0, (self._batch, -1)).transpose(1, 2)


class TokenEmbedding(nn.Module):
    """A convolution over three neighbouring slots (the ends are neighbours too) plus fixed sinusoidal positions.

    Source: Zhou et al., "Informer: beyond efficient transformer for long sequence time-series forecasting", AAAI, 2021.
    """

    positions: Tensor

    def __init__(self, inputs: int, width: int, slots: int) -> None:
        super().__init__()
        self.values = nn.Conv1d(inputs, width, 3, padding=1, padding_mode="circular", bias=False)
        self.register_buffer("positions", sinusoids(slots, width), persistent=False)

    def forward(self, series: Tensor) -> Tensor:
        """Map (rows, slots, inputs) to (rows, slots, width)."""
        return self.values(series.mT).mT + self.positions


def sinusoids(positions: int, width: int) -> Tensor:
    """Fixed position vectors, shape (positions, width): sines in even places, cosines in odd ones.

    Source: Vaswani et al., "Attention is all you need", NeurIPS, 2017, section 3.5.
    """
    place = torch.arange(width)
    angle = torch.arange(positions)[:, None] / 10000.0 ** (2 * (place // 2) / width)
    return torch.where(place % 2 == 0, angle.sin(), angle.cos())
