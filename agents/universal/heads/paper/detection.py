"""Detection as in the text of arXiv 2412.20772: the channel as one token, then a token for each received vector.

Each kind of token has a fully connected network of its own. The sequence is causal, channel first, so that every received
vector can see it. The decoder, another such network, reads the received vectors' positions. The loss is the squared error of the
symbols.

The released code differs from the text: a transformer over 64 patches of the channel makes as many tokens, and received vectors
pass layers without activations, whose widths are kept. Users and antennas have fixed places: the head doesn't know that their
order is arbitrary. Without a backbone received vectors never meet the channel, and little can be learned but the symbols' mean.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

from ...._detection import answer, noise_power_of, points_of, wants_llrs
from ...._linear import active_users
from ...._sizes import SizedNetwork
from ....oamp import error_variance
from .._layers import mlp, parts
from ..base import Head

CHANNEL_HIDDEN = 1024  # a choice made here


class DetectionHead(Head, SizedNetwork):
    """Encoder and decoder of the detection task. Slots may be any number, antennas and users are those of the first task."""

    ordered = True
    mixed_precision = True

    def __init__(self, task: TaskSpec, width: int) -> None:
        antennas, users = next(field.shape for field in task.observation_fields if field.name == "csi")
        super().__init__(task, width)
        self.sizes = {"antennas": antennas, "users": users}
        self.channel_to_token = mlp(2 * antennas * users, CHANNEL_HIDDEN, width)
        self.received_to_token = mlp(2 * antennas, 2 * antennas, width, width)
        self.output = mlp(width, width, 2 * users)

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, None, None]:
        """Return a token for the channel and one per received vector, shape (batch, 1 + slots, width).

        Both are divided by the root mean square of the channel's entries, which leaves the symbols as they are.

        Raises:
            ValueError: for other numbers of antennas or users than those of the first task.
        """
        csi = obs["csi"]
        self.require("the paper's detection head", antennas=csi.shape[1], users=csi.shape[2])
        entries = active_users(csi.mT).sum(-1).clamp_min(1) * csi.shape[1]
        power = (csi.abs().square().sum((1, 2)) / entries).clamp_min(torch.finfo(torch.float32).tiny)
        scale = power.rsqrt()[:, None, None]
        channel = self.channel_to_token(parts(csi * scale).flatten(1))
        received = self.received_to_token(parts(obs["received"] * scale).flatten(-2))
        return torch.cat([channel[:, None], received], 1).float(), None, None

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: None) -> Action:
        """Return symbol estimates, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        The ratios take the estimate for the symbol plus a Gaussian error, whose variance the residual ``y - H x`` tells; they
        alone need the noise power.

        Raises:
            ValueError: if ratios are asked for and the noise power is hidden.
        """
        numbers = self.output(hidden[:, 1:]).float().unflatten(-1, (-1, 2)).contiguous()
        symbols = torch.view_as_complex(numbers) * active_users(obs["csi"].mT)[:, None]
        if not wants_llrs(task):
            return symbols
        noise_power = noise_power_of(obs, "the paper's detection head")[:, None, None]
        column_energy = obs["csi"].abs().square().sum(1)[:, None]
        return answer(task, symbols, symbols, error_variance(obs, symbols, noise_power, column_energy))

    def loss(self, task: Task, state: Any, obs: Obs, action: Action, context: None, progress: float) -> Tensor:
        """Return the mean of ``|x_hat - x|^2`` over all symbols of users that take part."""
        symbols = action["symbols"] if isinstance(action, dict) else action
        symbols, sent = symbols.flatten(0, -3), points_of(task.spec, symbols)[state.sent].flatten(0, -3)
        present = active_users(obs["csi"].mT).to(symbols.device)[:, None].expand(sent.shape)
        return ((symbols - sent).abs().square() * present).sum() / present.sum().clamp_min(1)
