"""What the learned channel predictors of the literature share: every antenna is a series of its own.

An antenna's slot is a vector of ``2 subcarriers`` reals, (re, im) of one subcarrier after the other. Each antenna of an episode
becomes a row of the batch; what they have in common is not used. Source: Liu et al., "LLM4CP", J. Commun. Inf. Netw. 9(2), 2024,
and arXiv 2412.20772, which normalise by the mean and deviation of a whole batch; here it is each episode's own root mean square,
so that no row depends on the others.
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
        scale = root_mean_square(csi)
        series = torch.view_as_real((csi / scale).transpose(1, 2).contiguous()).flatten(-2).flatten(0, 1)
        predicted = weights.network(series).float().unflatten(-1, (-1, 2)).contiguous()
        future = torch.view_as_complex(predicted).unflatten(0, (len(csi), -1)).transpose(1, 2)
        return future * scale


def root_mean_square(csi: Tensor) -> Tensor:
    """Root mean square of each row's entries, shape (batch, 1, 1, 1), at least the smallest positive number."""
    mean_power = csi.abs().square().flatten(1).mean(-1)
    return mean_power.clamp_min(torch.finfo(mean_power.dtype).tiny).sqrt()[:, None, None, None]


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
