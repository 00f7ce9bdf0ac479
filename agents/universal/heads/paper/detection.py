"""Detection as in the code released with arXiv 2412.20772: a transformer over patches of the channel, then the received vectors.

The channel is an image over (users, antennas), re and im being two channels. Each patch of 4 x 4 is a token, 64 of them for 8
users and 128 antennas; a transformer, far wider than it is deep, mixes them before they go to the backbone. A received vector is
a token too, by linear layers without activations between them. The sequence is causal, the channel first, so that every received
vector sees all of it. The decoder reads the received vectors' positions, by two linear layers. The loss is the squared error of
the symbols. The paper's text has one token for the whole channel in place of 64.

Both the channel and what is received are divided by the root mean square of the channel's entries. Users and antennas have fixed
places: the head doesn't know that their order is arbitrary. Without a backbone received vectors never meet the channel, and
little can be learned but the symbols' mean.
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
from .._layers import parts
from ..base import Head
from ._attention import Encoder

PATCH = 4
PATCH_WIDTH, DEPTH, HEADS, HEAD_WIDTH, HIDDEN = 2048, 3, 8, 64, 64


class PatchEncoder(torch.nn.Module):
    """The channel's patches as tokens. Users and antennas that don't fill a patch are followed by zeros.

    Args:
        users: rows of the image.
        antennas: columns.
        width: of the tokens that come out.
    """

    def __init__(self, users: int, antennas: int, width: int) -> None:
        super().__init__()
        self.padding = (0, -antennas % PATCH, 0, -users % PATCH)
        patches = (users + self.padding[3]) // PATCH * ((antennas + self.padding[1]) // PATCH)
        norm, wide = torch.nn.LayerNorm(2 * PATCH**2), torch.nn.LayerNorm(PATCH_WIDTH)
        self.embed = torch.nn.Sequential(norm, torch.nn.Linear(2 * PATCH**2, PATCH_WIDTH), wide)
        self.positions = torch.nn.Parameter(torch.randn(patches, PATCH_WIDTH))
        self.mix = Encoder(PATCH_WIDTH, DEPTH, HEADS, HEAD_WIDTH, HIDDEN)
        self.to_token = torch.nn.Linear(PATCH_WIDTH, width)

    def forward(self, csi: Tensor) -> Tensor:
        """Map channels (batch, antennas, users), complex64, to tokens (batch, patches, width)."""
        image = torch.nn.functional.pad(parts(csi.mT).movedim(-1, 1), self.padding)
        patches = image.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # (batch, 2, rows, columns, PATCH, PATCH)
        flat = patches.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
        tokens = self.embed(flat) + self.positions
        present = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        mapped: Tensor = self.to_token(self.mix(tokens, present))
        return mapped


class DetectionHead(Head, SizedNetwork):
    """Encoder and decoder of the detection task. Slots may be any number, antennas and users are those of the first task."""

    ordered = True
    mixed_precision = True

    def __init__(self, task: TaskSpec, width: int) -> None:
        antennas, users = next(field.shape for field in task.observation_fields if field.name == "csi")
        super().__init__(task, width)
        self.sizes = {"antennas": antennas, "users": users}
        self.patches = PatchEncoder(users, antennas, width)
        received = 2 * antennas
        self.received_to_token = torch.nn.Sequential(
            torch.nn.Linear(received, received), torch.nn.Linear(received, width), torch.nn.Linear(width, width)
        )
        self.output = torch.nn.Sequential(torch.nn.Linear(width, 2 * users), torch.nn.Linear(2 * users, 2 * users))

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, None, None]:
        """Return the channel's tokens and one per received vector, shape (batch, patches + slots, width).

        Raises:
            ValueError: for other numbers of antennas or users than those of the first task.
        """
        csi = obs["csi"]
        self.require("the paper's detection head", antennas=csi.shape[1], users=csi.shape[2])
        entries = active_users(csi.mT).sum(-1).clamp_min(1) * csi.shape[1]
        power = (csi.abs().square().sum((1, 2)) / entries).clamp_min(torch.finfo(torch.float32).tiny)
        scale = power.rsqrt()[:, None, None]
        received = self.received_to_token(parts(obs["received"] * scale).flatten(-2))
        return torch.cat([self.patches(csi * scale), received], 1).float(), None, None

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: None) -> Action:
        """Return symbol estimates, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        The ratios take the estimate for the symbol plus a Gaussian error, whose variance the residual ``y - H x`` tells; they
        alone need the noise power.

        Raises:
            ValueError: if ratios are asked for and the noise power is hidden.
        """
        slots = obs["received"].shape[1]
        numbers = self.output(hidden[:, -slots:]).float().unflatten(-1, (-1, 2)).contiguous()
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
