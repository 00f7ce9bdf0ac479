"""`Head`: what stands between one task and the backbone that all tasks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from wirelessgym.fields import Action, Obs
from wirelessgym.learned import negative_reward
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task


class Head(torch.nn.Module, ABC):
    """Encoder and decoder of one task, with trainable weights.

    A head is made as ``head(task, width)``: for the task that is met first, whose sizes it may fix, and the width of the
    backbone's tokens. Weights are seeded while it is made. The rest of the agent does not know what the tokens mean:

        obs -> encode -> tokens -> backbone -> hidden -> decode -> action

    Attributes:
        ordered: whether a sequence's tokens are a series, each seeing those before it, or a set, which stand at one position
            and all see each other. With a set, permuting the tokens permutes the hidden states.
        mixed_precision: whether `encode`, `decode` and `loss` support bfloat16 autocast; else they run in float32.
    """

    ordered: ClassVar[bool] = False
    mixed_precision: ClassVar[bool] = False

    def __init__(self, task: TaskSpec, width: int) -> None:
        super().__init__()

    @abstractmethod
    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, Tensor | None, Any]:
        """Turn a batch of observations into tokens.

        Args:
            task: the task, or one that extends it.
            obs: its entries, batch axis first, on the device of the weights.

        Returns:
            Tokens, shape (sequences, n, width), float32: one sequence per row of the batch, or the same number for each row,
            one row's after the other's; which of them are present, shape (sequences, n), bool, or None for all; and whatever
            `decode` and `loss` need besides.
        """

    @abstractmethod
    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: Any) -> Action:
        """Turn what the backbone made of the tokens into actions as the task's fields describe them.

        Where all action fields are discrete, return logits instead, as `LearnedAgent.policy` does.

        Args:
            task: as for `encode`.
            obs: as for `encode`.
            hidden: the tokens plus what the backbone adds to them, shape (sequences, n, width), float32.
            context: the last thing that `encode` returned.
        """

    def loss(self, task: Task, state: Any, obs: Obs, action: Action, context: Any, progress: float) -> Tensor:
        """Return the scalar that training minimises; unless overridden, the negated mean reward.

        Args:
            task: as for `encode`.
            state: of the episodes, which only losses may read.
            obs: what the agent saw.
            action: what `decode` returned, with gradients.
            context: as for `decode`.
            progress: share of the training that is done, 0 to 1, for losses in phases.
        """
        return negative_reward(task, state, action)
