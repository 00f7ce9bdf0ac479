"""Fitted agents: agents whose numbers are statistics of training episodes, found without gradients.

``wirelessgym train`` makes them from a configuration as it does learned ones, see `FittedAgent.fit`; loading, saving, cards and
options are those of `LearnedAgent`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from wirelessgym.agent import Training
from wirelessgym.fields import Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

Episodes: TypeAlias = Iterable[tuple[Task, Any, Obs]]  # task, state and first observation of a batch


class Estimates(torch.nn.Module):
    """Tensors by name, which no gradient changes: the weights of a fitted agent."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


@dataclass(eq=False, kw_only=True)
class FittedAgent(LearnedAgent):
    """An agent that is fitted to episodes. How many numbers it keeps may depend on them."""

    training: ClassVar[Training] = "fitted"

    @abstractmethod
    def fit(self, episodes: Episodes, generator: torch.Generator, say: Callable[[str], None]) -> Mapping[str, Tensor]:
        """Return what follows from the episodes.

        Args:
            episodes: batches of them, which can be read once; only a fit may read states.
            generator: all randomness of the fit.
            say: called with a line about how far it has come.

        Returns:
            Tensors, which become the weights; names without dots.
        """

    def build(self, task: TaskSpec) -> Estimates:
        """Nothing, until a fit or a checkpoint brings numbers."""
        return Estimates({})

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take another agent's `saved_tensors`, or what a fit returned."""
        self._weights = Estimates(tensors)

    def estimates(self, task: TaskSpec) -> dict[str, Tensor]:
        """Return the tensors by name.

        Raises:
            ValueError: if there are none, as before a fit.
        """
        if not (found := dict(self.weights(task).named_buffers())):
            raise ValueError(f"{self.name}: not fitted yet; take a checkpoint, or `wirelessgym train {self.name}`")
        return found

    @property
    def num_parameters(self) -> int:
        """How many numbers were fitted."""
        return sum(tensor.numel() for tensor in self._weights.buffers()) if self._weights is not None else super().num_parameters
