"""A fully connected network from the received vector and the channel to the symbols.

Source: Ye, Li, Juang, "Power of deep learning for channel estimation and signal detection in OFDM systems", IEEE Wireless
Commun. Lett. 7(1), 2018: three hidden layers of 500, 250 and 120 units for 256 inputs, ReLU, a sigmoid at the output, the
squared error as loss. Here the inputs are y and vec(H), as in arXiv 2412.20772, and the hidden layers grow with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from wirelessgym.fields import Action, Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import answer, noise_power_of, points_of, wants_llrs
from ._linear import active_users
from ._sizes import SizedNetwork
from .oamp import error_variance

_HIDDEN_PER_INPUT = (500 / 256, 250 / 256, 120 / 256)


class _Network(SizedNetwork):
    """Inputs (..., 2 antennas (1 + users)) to numbers in (-1, 1), (..., 2 users)."""

    def __init__(self, antennas: int, users: int, scale: float) -> None:
        super().__init__(antennas=antennas, users=users)
        inputs = 2 * antennas * (1 + users)
        widths = [inputs, *(max(1, round(scale * ratio * inputs)) for ratio in _HIDDEN_PER_INPUT)]
        self.layers = nn.Sequential()
        for before, after in pairwise(widths):
            self.layers.extend([nn.Linear(before, after), nn.ReLU()])
        self.layers.append(nn.Linear(widths[-1], 2 * users))

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * torch.sigmoid(self.layers(inputs).float()) - 1


@dataclass(eq=False, kw_only=True)
class DNNDetector(LearnedAgent):
    """Detect with a fully connected network that knows nothing of the model ``y = H x + n``.

    Each received vector is one input, together with the channel. The network isn't told the noise power. The squared error of the
    symbols, divided by their energy, is both the task's headline and the loss.

    Args:
        scale: factor on the widths of the hidden layers; at 1 they stand to the inputs as in the source.

    Raises:
        ValueError: for a scale that isn't positive.
    """

    scale: float = 1.0
    tasks = ("detection",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scale > 0:
            raise ValueError(f"scale: expected a positive number, got {self.scale}")

    def build(self, task: TaskSpec) -> nn.Module:
        """Return fresh weights for the task's antennas and users."""
        antennas, users = next(field.shape for field in task.observation_fields if field.name == "csi")
        return _Network(antennas, users, self.scale)

    @over_subcarriers
    def forward(self, task: TaskSpec, obs: Obs) -> Action:
        """Return symbol estimates, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        The ratios take the estimate for the symbol plus a Gaussian error, whose variance the residual ``y - H x`` tells.

        Raises:
            ValueError: for other numbers of antennas or users than those of the first task; if ratios are asked for and the
                noise power is hidden.
        """
        received, csi = obs["received"], obs["csi"]
        network = cast(_Network, self.weights(task))
        network.require(self.name, antennas=csi.shape[1], users=csi.shape[2])
        column_energy = csi.abs().square().sum(1)
        # The symbols don't change when y and H are scaled together; this makes the channel's power per antenna one.
        power = (column_energy.sum(-1) / csi.shape[1]).clamp_min(torch.finfo(column_energy.dtype).tiny)
        channel = csi.flatten(1)[:, None].expand(-1, received.shape[1], -1)
        inputs = torch.cat([received, channel], -1) * power.rsqrt()[:, None, None]
        real, imaginary = network(torch.cat([inputs.real, inputs.imag], -1)).chunk(2, -1)
        largest = points_of(task, csi).real.max()
        symbols = torch.complex(real, imaginary) * largest * active_users(csi.mT)[:, None]
        if not wants_llrs(task):
            return symbols
        # The eigenvalues of H^H H and the energies of H's columns have the same sum, which is all that is needed.
        noise_power = noise_power_of(obs, self.name)[:, None, None]
        return answer(task, symbols, symbols, error_variance(obs, symbols, noise_power, column_energy[:, None]))
