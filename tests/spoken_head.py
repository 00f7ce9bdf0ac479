"""A head of another module: what the universal agent needs to do the task with words."""

from __future__ import annotations

import torch
from torch import Tensor
from wirelessgym.agents.universal.heads import Head

from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec


class SpokenHead(Head):
    """A token is a number; the backbone alone reads what is asked for."""

    def __init__(self, task: TaskSpec, width: int) -> None:
        super().__init__(task, width)
        self.to_token = torch.nn.Sequential(torch.nn.Linear(1, 64), torch.nn.GELU(), torch.nn.Linear(64, width))
        self.norm = torch.nn.LayerNorm(width)
        self.score = torch.nn.Sequential(torch.nn.Linear(width, 128), torch.nn.GELU(), torch.nn.Linear(128, 1))

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, None, None]:
        assert isinstance(obs["wish"], tuple)
        return self.to_token(obs["numbers"][..., None]), None, None

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: None) -> Action:
        picked: Tensor = self.score(self.norm(hidden))[..., 0].softmax(-1)
        return picked
