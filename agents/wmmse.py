"""WMMSE: the iteration that climbs to a stationary point of the sum rate.

Sources: Shi, Razaviyayn, Luo, He, "An iteratively weighted MMSE approach to distributed sum-utility maximization for
a MIMO interfering broadcast channel", IEEE Trans. Signal Process. 59(9), 2011, table I; Zhao, Lu, Shi, Luo,
"Rethinking WMMSE: can its complexity scale linearly with the number of BS antennas?", arXiv 2205.06225: the precoder
stays in the span of the users' channels, so the iteration runs on K x K matrices, and using all power replaces the
search for the multiplier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.capacity import shares, structured_precoder
from wirelessgym.fields import Obs
from wirelessgym.options import require_at_least_one
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._linear import active_users, mmse_loading, wants_structure

Initialisation: TypeAlias = Literal["rzf", "mrt", "random"]


@dataclass(frozen=True)
class WMMSE(Agent):
    """Maximise the sum rate by alternating between receive filters, weights and precoders. The sum rate never falls.

    The cost per iteration doesn't depend on the number of antennas.

    Args:
        iterations: largest number of iterations.
        initialisation: ``"rzf"``: regularised zero-forcing; ``"mrt"``: maximum-ratio transmission, both with equal
            power per user; ``"random"``: one random K x K mixture of the users' channels, the same for every row.
        tolerance: each row stops as soon as an iteration raises its rate by less than this fraction; 0 runs them
            all. A row's result doesn't depend on the other rows, and the iteration ends when all have stopped.
        seed: of the random initialisation.
        starts: how many initialisations to try: ``initialisation``, then ``"rzf"`` and ``"mrt"``, then random ones. Each row
            keeps the one that ends with the highest sum rate on the channel as it is known.

    Raises:
        ValueError: for an option out of range.
    """

    iterations: int = 100
    initialisation: Initialisation = "rzf"
    tolerance: float = 0.0
    seed: int = 0
    starts: int = 1
    tasks = ("precoding",)

    def __post_init__(self) -> None:
        require_at_least_one(self, "iterations")
        if self.initialisation not in get_args(Initialisation):
            raise ValueError(
                f"initialisation: expected one of {', '.join(get_args(Initialisation))}, got {self.initialisation!r}"
            )
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance: expected a number in [0, 1), got {self.tolerance}")
        require_at_least_one(self, "starts")

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Where the task asks for the structure, return it: shape (batch, users, 2), float32, in shares of ``tx_power``.
        """
        power, regularisation = self.structure(obs)
        if wants_structure(task):
            return torch.stack([power, regularisation], -1) / obs["tx_power"][:, None, None]
        return structured_precoder(obs["csi"], power, regularisation, obs["noise_power"], obs["tx_power"])

    def structure(self, obs: Obs) -> tuple[Tensor, Tensor]:
        """Return the ``(p, lambda)`` of the last iterate, each of shape (batch, users), W, summing to ``tx_power``.

        `wirelessgym.capacity.structured_precoder` turns them into the precoder: they are what a learned precoder has
        to predict.
        """
        csi, tx_power = obs["csi"], obs["tx_power"]
        noise_to_power = obs["noise_power"] / tx_power
        gram = csi.conj() @ csi.mT
        best, *others = (
            self._climbed(gram, self._start(start, seed, csi, gram, obs["noise_power"], tx_power), noise_to_power)
            for start, seed in self._starts()
        )
        for other in others:
            better = other[2] > best[2]
            best = (
                torch.where(better[:, None, None], other[0], best[0]),
                torch.where(better[:, None], other[1], best[1]),
                torch.maximum(other[2], best[2]),
            )
        mixing, weights, _ = best
        per_user = (mixing.conj() * (gram @ mixing)).sum(-2).real.clamp_min(0)
        return shares(per_user, tx_power), shares(weights, tx_power)

    def _starts(self) -> list[tuple[Initialisation, int]]:
        """Initialisations in the order in which they are tried, each with a seed."""
        named: list[Initialisation] = [self.initialisation, *(each for each in ("rzf", "mrt") if each != self.initialisation)]
        starts = [(each, self.seed) for each in named]
        return (starts + [("random", self.seed + 1 + extra) for extra in range(self.starts)])[: self.starts]

    def _climbed(self, gram: Tensor, mixing: Tensor, noise_to_power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The last mixing matrix, the weights that made it, and its sum rate."""
        weights = torch.zeros_like(gram.real[..., 0])
        running = torch.ones_like(noise_to_power, dtype=torch.bool)
        for _ in range(self.iterations):
            new_mixing, new_weights, rate = _iterate(gram, mixing, noise_to_power)
            mixing = torch.where(running[:, None, None], new_mixing, mixing)
            weights = torch.where(running[:, None], new_weights, weights)
            if self.tolerance > 0:
                gain = _rate(gram, mixing, noise_to_power) - rate
                running = running & (gain > self.tolerance * rate)
                if not bool(running.any()):
                    break
        return mixing, weights, _rate(gram, mixing, noise_to_power)

    def _start(
        self, initialisation: Initialisation, seed: int, csi: Tensor, gram: Tensor, noise_power: Tensor, tx_power: Tensor
    ) -> Tensor:
        """Columns ``x_k`` of the first precoder ``w_k = sum_j h_j x_jk``, (batch, users, users), of equal power."""
        users = csi.shape[-2]
        identity = torch.eye(users, dtype=csi.dtype, device=csi.device).expand_as(gram)
        if initialisation == "mrt":
            mixing = identity
        elif initialisation == "rzf":
            # The one keeps the matrix regular for users without a channel, whose columns have no power in any case.
            diagonal = mmse_loading(csi, noise_power, tx_power)[:, None] + torch.where(active_users(csi), 0.0, 1.0)
            mixing = torch.linalg.inv(gram + torch.diag_embed(diagonal).to(csi.dtype))
        else:
            generator = torch.Generator().manual_seed(seed)
            mixing = torch.randn(users, users, dtype=csi.dtype, generator=generator).to(csi.device).expand_as(gram)
        power = (mixing.conj() * (gram @ mixing)).sum(-2, keepdim=True).real
        return mixing * torch.where(power > 0, power, torch.ones_like(power)).rsqrt()


def _iterate(gram: Tensor, mixing: Tensor, noise_to_power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One iteration: the next mixing matrix, the weights that made it, and the sum rate of the one before."""
    received = gram @ mixing
    amplitude = received.diagonal(dim1=-2, dim2=-1)
    signal, disturbance = _signal_and_disturbance(mixing, received, noise_to_power)
    total = signal + disturbance
    rate = torch.log2(total / disturbance).sum(-1)
    # Receive filter u = amplitude / total, error e = disturbance / total, weight 1 / e; q = |u|^2 / e is the user's price.
    weights = signal / total / disturbance
    loading = noise_to_power * weights.sum(-1)
    loading = torch.where(loading > 0, loading, torch.ones_like(loading))  # no user has a channel: nothing to invert
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    loaded = weights[..., None] * gram + loading[:, None, None] * identity
    return torch.linalg.inv(loaded) * (amplitude / disturbance)[:, None, :], weights, rate


def _signal_and_disturbance(mixing: Tensor, received: Tensor, noise_to_power: Tensor) -> tuple[Tensor, Tensor]:
    """Signal, and interference plus noise, of each user; noise is scaled by power in use over budget."""
    power_in_use = (mixing.conj() * received).sum((-2, -1)).real
    squared = received.abs().square()
    signal = squared.diagonal(dim1=-2, dim2=-1)
    interference = (squared - torch.diag_embed(signal)).sum(-1)
    disturbance = interference + (noise_to_power * power_in_use)[:, None]
    return signal, disturbance.clamp_min(torch.finfo(signal.dtype).tiny)


def _rate(gram: Tensor, mixing: Tensor, noise_to_power: Tensor) -> Tensor:
    signal, disturbance = _signal_and_disturbance(mixing, gram @ mixing, noise_to_power)
    return torch.log2(1 + signal / disturbance).sum(-1)
