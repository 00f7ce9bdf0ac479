"""Random actions: what no knowledge at all achieves; the floor of every table."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Field, Obs
from wirelessgym.modulation import constellation
from wirelessgym.spec import TaskSpec


@dataclass(frozen=True)
class Random(Agent):
    """Draw every action anew, feasible and independent of the observation's content.

    Precoders point anywhere and use all power; symbols are points of the constellation, with normal log-likelihood
    ratios; predictions are complex Gaussian, as strong as what was observed; other entries are uniform within their
    bounds, or normal where they have none.

    Args:
        seed: of the agent's own generator; two agents with the same seed draw the same, and `reset` starts again.
    """

    seed: int = 0
    _generator: torch.Generator = field(default_factory=torch.Generator, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.reset(0)

    def reset(self, batch: int) -> None:
        """Start the generator again."""
        self._generator.manual_seed(self.seed)

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return an action of the task's shape and dtype for each row of the observation."""
        some = next(iter(obs.values()))
        action = {entry.name: self._draw(task, entry, obs, some.shape[0]).to(some.device) for entry in task.action_fields}
        return action if len(action) > 1 else next(iter(action.values()))

    def _draw(self, task: TaskSpec, entry: Field, obs: Obs, batch: int) -> Tensor:
        shape = (batch, *entry.shape)
        if entry.name == "llrs":
            return torch.randn(shape, generator=self._generator)
        if entry.name == "symbols":
            points = constellation(task.modulation)
            return points[torch.randint(len(points), shape, generator=self._generator)]
        drawn = entry.draw(batch, self._generator)
        if entry.dtype != "complex64":
            return drawn
        scale = torch.ones(batch)
        if "tx_power" in obs:
            scale = (obs["tx_power"].cpu() / drawn.abs().square().flatten(1).sum(-1)).sqrt()
        elif "csi" in obs:
            scale = obs["csi"].abs().square().flatten(1).mean(-1).sqrt().cpu()
        return drawn * scale.view(-1, *[1] * len(entry.shape))
