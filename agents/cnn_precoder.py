"""A convolutional network that predicts the two numbers per user of the optimal precoder's structure.

Source: Xia, Zheng, Zhu, Zhang, Wang, Petropulu, "A deep learning framework for optimization of MISO downlink beamforming",
IEEE Trans. Commun. 68(3), 2020: convolutions with batch normalisation, one fully connected layer, a sigmoid, and a scaling to
the power budget; trained on WMMSE's solutions first and on the sum rate afterwards. Numbers of layers and channels are choices
made here. The structure and the two losses are eqs. (4), (24), (36) and (37) of arXiv 2412.20772.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from wirelessgym.capacity import shares, structured_precoder
from wirelessgym.fields import Action, Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import fold_subcarriers, over_subcarriers
from wirelessgym.task import Task

from ._linear import active_users, wants_structure
from ._sizes import SizedNetwork
from .wmmse import WMMSE


class _Network(SizedNetwork):
    """Channels as an image over (users, antennas) to two positive numbers per user."""

    def __init__(self, users: int, antennas: int, channels: int, layers: int) -> None:
        super().__init__(users=users, antennas=antennas)
        widths = [2] + [channels] * layers
        self.convolutions = nn.Sequential()
        for before, after in pairwise(widths):
            # No bias: the normalisation takes it out again.
            self.convolutions.extend([nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()])
        self.output = nn.Linear(widths[-1] * users * antennas, 2 * users)

    def forward(self, csi: Tensor) -> Tensor:
        """Map (batch, users, antennas), complex, to (batch, users, 2), in (0, 1)."""
        image = torch.stack([csi.real, csi.imag], 1)
        return torch.sigmoid(self.output(self.convolutions(image).flatten(1)).float()).unflatten(-1, (-1, 2))


@dataclass(eq=False, kw_only=True)
class CNNPrecoder(LearnedAgent):
    """Precode with the structure that a convolutional network reads off the channel.

    The network sees the channel times ``sqrt(tx_power / noise_power)``, which is all that the sum rate depends on when the
    channel is known perfectly. Neither the order of users nor that of antennas is built in.

    Args:
        channels: of each convolution.
        layers: number of convolutions, 3 x 3 over (users, antennas).
        supervised_share: share of the training in which the loss is the squared distance to WMMSE's (p, lambda); the loss is
            the negative sum rate afterwards.
        label_iterations: of the WMMSE that makes the labels.

    Raises:
        ValueError: for an option out of range.
    """

    channels: int = 32
    layers: int = 2
    supervised_share: float = 0.5
    label_iterations: int = 100
    tasks = ("precoding",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels < 1 or self.layers < 1:
            raise ValueError(f"channels, layers: expected at least 1 each, got {self.channels}, {self.layers}")
        if not 0 <= self.supervised_share <= 1:
            raise ValueError(f"supervised_share: expected a number in [0, 1], got {self.supervised_share}")
        self._labels = WMMSE(iterations=self.label_iterations)

    def build(self, task: TaskSpec) -> nn.Module:
        """Return fresh weights for the task's users and antennas."""
        users, antennas = next(field.shape for field in task.observation_fields if field.name == "csi")
        return _Network(users, antennas, self.channels, self.layers)

    @over_subcarriers
    def forward(self, task: TaskSpec, obs: Obs) -> Action:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Where the task asks for the structure, return it: shape (batch, users, 2), float32, in shares of ``tx_power``.

        Raises:
            ValueError: for other numbers of users or antennas than those of the first task.
        """
        structure = self.structure(task, obs)
        if wants_structure(task):
            return structure
        power, regularisation = structure.unbind(-1)
        return structured_precoder(obs["csi"], power, regularisation, obs["noise_power"], obs["tx_power"])

    def structure(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return (p, lambda) in shares of ``tx_power``, shape (batch, users, 2): zero for users without a channel."""
        csi = obs["csi"]
        network = cast(_Network, self.weights(task))
        network.require(self.name, users=csi.shape[1], antennas=csi.shape[2])
        structure = network(csi * (obs["tx_power"] / obs["noise_power"]).sqrt()[:, None, None]) * active_users(csi)[..., None]
        one = torch.ones_like(obs["tx_power"])
        return torch.stack([shares(part, one) for part in structure.unbind(-1)], -1)

    def loss(self, task: Task, state: Any, obs: Obs, progress: float = 1.0) -> Tensor:
        """Return the squared distance to WMMSE's structure on the same channel, later the negative sum rate."""
        if progress >= self.supervised_share:
            return super().loss(task, state, obs, progress)
        spec, obs = fold_subcarriers(task.spec, obs)
        with torch.no_grad():
            labels = torch.stack(self._labels.structure(obs), -1) / obs["tx_power"][:, None, None]
        return (self.structure(spec, obs) - labels).square().sum((1, 2)).mean()
