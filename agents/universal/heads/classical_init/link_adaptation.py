"""Link adaptation: correct the choice of the inner loop.

The head starts as the agent `illa`: logits about the MCS that the report allows. What it learns are corrections of them. One
token is one link; there is no memory: the head learns how bold to be for a report and for what became of the last transmission.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from wirelessgym.fields import Action, Obs
from wirelessgym.link.mcs import HIGHEST_MCS
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

from ...._link import NUM_MCS, policy_logits
from .._layers import mlp, zero_init
from ..base import Head

FEATURES = 16 + 3 + 4 + HIGHEST_MCS + 2  # one-hot: CQI, feedback, transmissions, last MCS


class LinkAdaptationHead(Head):
    """Encoder and decoder of the link adaptation task."""

    mixed_precision = True

    def __init__(self, task: TaskSpec, width: int) -> None:
        super().__init__(task, width)
        self.to_token = mlp(FEATURES, 128, width)
        self.norm = torch.nn.LayerNorm(width)
        self.correct = zero_init(mlp(width, 128, NUM_MCS))

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, Tensor | None, None]:
        """Return a token per link, shape (batch, 1, width)."""
        known = [(obs["cqi"], 16), (obs["feedback"] + 1, 3), (obs["transmissions"], 4), (obs["last_mcs"] + 1, HIGHEST_MCS + 2)]
        features = torch.cat([one_hot(value, count) for value, count in known], -1).float()
        return self.to_token(features)[:, None], None, None

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: None) -> Tensor:
        """Return logits of MCS 3 to 28, shape (batch, 26); a retransmission has no choice."""
        return policy_logits(self.correct(self.norm(hidden[:, 0])).float(), obs, task.resource_elements)

    def loss(self, task: Task, state: Any, obs: Obs, action: Action, context: None, progress: float) -> Tensor:
        """Return the negative goodput of a first transmission now, expected over policy and noise: bit per resource element."""
        assert isinstance(action, Tensor)  # logits
        block: Any = task  # which has curves
        delivered = ((1 - block.block_error_rate(state)) * block.curves.bits / block.resource_elements).to(action.device)
        chances = action.softmax(-1) * (obs["transmissions"] == 0)[:, None]
        return -(chances * delivered).sum(-1).mean()
