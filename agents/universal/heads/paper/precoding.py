"""Precoding as in arXiv 2412.20772: a transformer over the users, the language model, and two numbers per user.

A token is a user: the real and imaginary parts of its channel, over the root mean square of all users' entries. The decoder's
power p and regularisation lambda are scaled as in eq. (24) and become a precoder by eq. (4). Training starts on WMMSE's
(p, lambda), eq. (36), and continues with the negative sum rate, eq. (37).

The released code builds the precoder on the true channel while its encoder sees a noisy one, and leaves out the first phase. Here
encoder, labels and precoder all have the observed channel; the rate alone is that of the true one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wirelessgym.capacity import shares, structured_precoder
from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

from ...._linear import active_users, wants_structure
from ...._sizes import SizedNetwork
from ....wmmse import WMMSE
from .._layers import mlp, parts
from ..base import Head
from ._attention import Encoder

DEPTH, HEADS, HEAD_WIDTH, HIDDEN = 3, 8, 64, 256
SUPERVISED_SHARE = 0.5  # of the training
LABELS = WMMSE(iterations=20)  # within 1 % of its limit, at a fifth of the usual cost


@dataclass
class Context:
    """What is carried from encoder to decoder, and from there to the loss.

    Attributes:
        present: users that take part, shape (batch, users), bool.
        structure: p and lambda as the decoder answers them, in shares of ``tx_power``, shape (batch, users, 2).
    """

    present: Tensor
    structure: Tensor | None = None


class PrecodingHead(Head, SizedNetwork):
    """Encoder and decoder of the precoding task. Users may be any number, antennas are those of the first task."""

    ordered = True  # the paper's language model is causal: a user's token sees those before it
    mixed_precision = True

    def __init__(self, task: TaskSpec, width: int) -> None:
        antennas = task.scenario.num_antennas
        super().__init__(task, width)
        self.sizes = {"antennas": antennas}
        self.users = Encoder(2 * antennas, DEPTH, HEADS, HEAD_WIDTH, HIDDEN)
        self.to_token = torch.nn.Linear(2 * antennas, width)
        self.output = mlp(width, width, 2)

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, Tensor, Context]:
        """Return a token per user, shape (batch, users, width), and which users there are.

        Raises:
            ValueError: for another number of antennas than that of the first task.
        """
        csi, present = obs["csi"], active_users(obs["csi"])
        self.require("the paper's precoding head", antennas=csi.shape[-1])
        entries = present.sum(-1).clamp_min(1) * csi.shape[-1]
        power = (csi.abs().square().sum((1, 2)) / entries).clamp_min(torch.finfo(torch.float32).tiny)
        channels = parts(csi * power.rsqrt()[:, None, None]).flatten(-2)
        return self.to_token(self.users(channels, present)).float(), present, Context(present)

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: Context) -> Action:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Where the task asks for the structure, its (p, lambda), shape (batch, users, 2), in shares of ``tx_power``.
        """
        answers = torch.sigmoid(self.output(hidden).float()) * context.present[..., None]
        one = torch.ones_like(obs["tx_power"])
        power, regularisation = (shares(answer, one) for answer in answers.unbind(-1))
        context.structure = torch.stack([power, regularisation], -1)
        if wants_structure(task):
            return context.structure
        return structured_precoder(obs["csi"], power, regularisation, obs["noise_power"], obs["tx_power"])

    def loss(self, task: Task, state: Any, obs: Obs, action: Action, context: Context, progress: float) -> Tensor:
        """Return ``|p - p*|^2 + |lambda - lambda*|^2`` in shares of the power, WMMSE's starred; later the negative sum rate."""
        if progress >= SUPERVISED_SHARE:
            return -task.score(state, action)["sum_rate"].mean()
        assert context.structure is not None
        with torch.no_grad():
            labels = torch.stack(LABELS.structure(obs), -1) / obs["tx_power"][:, None, None]
        return (context.structure - labels.to(context.structure.device)).square().sum((1, 2)).mean()
