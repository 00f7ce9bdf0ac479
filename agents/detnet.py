"""DetNet: projected gradient descent on ``|y - H x|^2``, unfolded into layers that learn the projection.

Source: Samuel, Diskin, Wiesel, "Learning to detect", IEEE Trans. Signal Process. 67(10), 2019, in its one-hot form: every layer
moves the estimate along the gradient, lifts it with a memory vector through a ReLU layer, and reads off the probability of each
level of the constellation. All layers contribute to the loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from wirelessgym.fields import Action, Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.modulation import BITS_PER_SYMBOL, llrs_of_logits
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import fold_subcarriers, over_subcarriers
from wirelessgym.task import Task

from ._detection import matched, points_of, wants_llrs
from ._linear import active_users
from ._sizes import SizedNetwork

SMALLEST_PROBABILITY = 1e-6


class _Layer(nn.Module):
    """One lift: (..., dimensions + memory) to levels' probabilities, (..., dimensions * levels), and the next memory."""

    def __init__(self, dimensions: int, levels: int, memory: int, hidden: int, last: bool) -> None:
        super().__init__()
        self.lift = nn.Linear(dimensions + memory, hidden)
        self.probabilities = nn.Linear(hidden, dimensions * levels)
        self.memory = None if last else nn.Linear(hidden, memory)

    def forward(self, gradient_step: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        lifted = torch.relu(self.lift(torch.cat([gradient_step, memory], -1)))
        new_memory = memory if self.memory is None else self.memory(lifted).float()
        return self.probabilities(lifted).float(), new_memory


class _Network(SizedNetwork):
    """The unfolded iteration for a number of users and a constellation with ``levels`` values per real dimension."""

    def __init__(self, users: int, points: int, layers: int, residual: float) -> None:
        super().__init__(users=users, points=points)
        dimensions, levels = 2 * users, math.isqrt(points)
        self.residual = residual
        self.steps = nn.Parameter(torch.zeros(layers, 2))  # of each layer, along H^T y and along H^T H x
        memory, hidden = 4 * dimensions, 8 * dimensions
        self.layers = nn.ModuleList(_Layer(dimensions, levels, memory, hidden, layer == layers - 1) for layer in range(layers))
        self.start_memory = memory

    def forward(self, collected: Tensor, gram: Tensor, levels: Tensor) -> list[Tensor]:
        """Return every layer's probabilities of the levels.

        Args:
            collected: ``H^T y``, shape (batch, slots, 2 users).
            gram: ``H^T H``, shape (batch, 2 users, 2 users).
            levels: of the constellation, shape (levels,).

        Returns:
            For each layer, shape (batch, slots, 2 users, levels).
        """
        shape = (*collected.shape, len(levels))
        probabilities = collected.new_full(shape, 1 / len(levels))
        memory = collected.new_zeros(*collected.shape[:-1], self.start_memory)
        every = []
        for layer, (along_collected, along_gram) in zip(self.layers, self.steps, strict=True):
            symbols = probabilities @ levels
            step = symbols - along_collected * collected + along_gram * (symbols @ gram)
            new_probabilities, new_memory = layer(step, memory)
            probabilities = torch.lerp(new_probabilities.view(shape), probabilities, self.residual)
            memory = torch.lerp(new_memory, memory, self.residual)
            every.append(probabilities)
        return every


@dataclass(eq=False, kw_only=True)
class DetNet(LearnedAgent):
    """Detect with unfolded projected gradient descent.

    The layers see ``H^H y`` and ``H^H H`` only, divided by the mean energy of the users' channels, so that the
    number of antennas may be any. They aren't told the noise power.

    Args:
        layers: number of layers; the source takes 30 for 16-QAM.
        residual: weight of the previous layer's output in each layer's.

    Raises:
        ValueError: for an option out of range.
    """

    layers: int = 10
    residual: float = 0.9
    tasks = ("detection",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 2:
            raise ValueError(f"layers: expected at least 2, as the first has no weight in the loss, got {self.layers}")
        if not 0 <= self.residual < 1:
            raise ValueError(f"residual: expected a number in [0, 1), got {self.residual}")

    def build(self, task: TaskSpec) -> nn.Module:
        """Return fresh weights for the task's users and constellation; gradient steps start at zero, as in the source's code."""
        users = next(field.shape[-1] for field in task.observation_fields if field.name == "csi")
        points = 2 ** BITS_PER_SYMBOL[task.modulation]
        return _Network(users, points, self.layers, self.residual)

    @over_subcarriers
    def forward(self, task: TaskSpec, obs: Obs) -> Action:
        """Return the mean of each symbol, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: for another number of users or another constellation than those of the first task.
        """
        points = points_of(task, obs["csi"])
        levels = _levels(points)
        probabilities = self._probabilities(task, obs)[-1]
        real, imaginary = (probabilities @ levels).chunk(2, -1)
        symbols = torch.complex(real, imaginary) * active_users(obs["csi"].mT)[:, None]
        if not wants_llrs(task):
            return symbols
        of_real, of_imaginary = probabilities.clamp_min(SMALLEST_PROBABILITY).log().chunk(2, -2)
        real_index, imaginary_index = _level_indices(points, levels)
        return {"symbols": symbols, "llrs": llrs_of_logits(of_real[..., real_index] + of_imaginary[..., imaginary_index])}

    def loss(self, task: Task, state: Any, obs: Obs, progress: float = 1.0) -> Tensor:
        """Return ``sum_l log(l) |x - x_l|^2``, x the one-hot vectors of the sent levels and x_l the output of layer l.

        The square is that of one real dimension of one symbol, averaged over all of users that take part.
        """
        spec, obs = fold_subcarriers(task.spec, obs)
        points = points_of(spec, obs["csi"])
        levels = _levels(points)
        real_index, imaginary_index = _level_indices(points, levels)
        indices = state.sent.flatten(0, -3)
        sent = torch.cat([real_index[indices], imaginary_index[indices]], -1)
        wanted = torch.nn.functional.one_hot(sent, len(levels)).to(levels.dtype)
        present = active_users(obs["csi"].mT).repeat(1, 2)[:, None].expand(sent.shape)
        total = torch.zeros_like(levels[0])
        for number, probabilities in enumerate(self._probabilities(spec, obs), start=1):
            error = (probabilities - wanted).square().sum(-1)
            total = total + math.log(number) * (error * present).sum() / present.sum().clamp_min(1)
        return total

    def _probabilities(self, task: TaskSpec, obs: Obs) -> list[Tensor]:
        """Every layer's probabilities of the levels; real parts of all users first, then imaginary parts."""
        csi = obs["csi"]
        points = points_of(task, csi)
        network = cast(_Network, self.weights(task))
        network.require(self.name, users=csi.shape[-1], points=len(points))
        gram, collected = csi.mH @ csi, matched(obs)
        users = active_users(csi.mT).sum(-1).clamp_min(1)
        mean_energy = gram.diagonal(dim1=-2, dim2=-1).real.sum(-1) / users
        scale = 1 / mean_energy.clamp_min(torch.finfo(mean_energy.dtype).tiny)[:, None, None]
        gram, collected = gram * scale, collected * scale
        real_gram = torch.cat([torch.cat([gram.real, -gram.imag], -1), torch.cat([gram.imag, gram.real], -1)], -2)
        every: list[Tensor] = network(torch.cat([collected.real, collected.imag], -1), real_gram, _levels(points))
        return every


def _levels(points: Tensor) -> Tensor:
    """Values of a square constellation's real (and imaginary) part, ascending."""
    return points.real.unique()


def _level_indices(points: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Which level the real and the imaginary part of each point have, two of shape (points,), int64."""
    real, imaginary = ((part[:, None] - levels).abs().argmin(-1) for part in (points.real, points.imag))
    return real, imaginary
