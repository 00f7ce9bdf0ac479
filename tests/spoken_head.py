"""A head of another module: what the universal agent needs to do the task with words."""

from __future__ import annotations

import torch
from torch import Tensor
from wirelessgym.agents.universal.heads import Head

from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec


class SpokenHead(Head):
    """A token for each number, and one that listens: the backbone alone reads what is asked for."""

    def __init__(self, task: TaskSpec, width: int) -> None:
        super().__init__(task, width)
        self.to_token = torch.nn.Linear(1, width)
        self.listener = torch.nn.Parameter(0.02 * torch.randn(width))  # as weak as a word
        self.norm = torch.nn.LayerNorm(width)
        self.direction = torch.nn.Linear(width, 1)

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, None, None]:
        assert isinstance(obs["wish"], tuple)
        tokens = self.to_token(obs["numbers"][..., None])
        return torch.cat([tokens, self.listener.expand(len(tokens), 1, -1)], 1), None, None

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: None) -> Action:
        picked: Tensor = (5 * self.direction(self.norm(hidden[:, -1])) * obs["numbers"]).softmax(-1)
        return picked
