"""Heads for the task of noisy numbers, as another package would have them."""

from __future__ import annotations

import torch
from noisy_number import NUMBERS
from wirelessgym.agents.universal.heads import Head

from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec


class NumberHead(Head):
    """One token for all numbers."""

    ordered = True
    mixed_precision = True

    def __init__(self, task: TaskSpec, width: int) -> None:
        super().__init__(task, width)
        self.to_token = torch.nn.Linear(NUMBERS, width)
        self.output = torch.nn.Linear(width, NUMBERS)

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[torch.Tensor, None, None]:
        return self.to_token(obs["y"])[:, None], None, None

    def decode(self, task: TaskSpec, obs: Obs, hidden: torch.Tensor, context: None) -> Action:
        guess: torch.Tensor = self.output(hidden[:, 0])
        return guess


class OtherHead(NumberHead):
    """Another class for the same task."""
