"""What precoders with a learned prior of channels share: a posterior for each user alone, and covariance-aware WMMSE behind it.

So they are held against `gmm_wmmse` with nothing else that differs. The weights are those of one size of array. Users are treated
alike and apart, which makes the precoder equivariant to their order, and any number of them can be served.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from wirelessgym.arrays import to_beams
from wirelessgym.fields import Action, Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.options import require_at_least_one
from wirelessgym.scenario import Panel
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import fold_subcarriers, over_subcarriers
from wirelessgym.task import Task

from ._covariance_wmmse import ITERATIONS
from ._linear import active_users
from ._posterior_wmmse import posterior_wmmse
from ._sizes import SizedNetwork


@dataclass(eq=False, kw_only=True)
class PosteriorPrecoder(LearnedAgent):
    """Estimates each user's channel, then precodes by covariance-aware WMMSE. With perfect knowledge it is `robust_wmmse`.

    Channels are taken to have a mean power of 1 per antenna, as scenarios' normalisation gives them.

    Args:
        width: of the residual network's rows.
        blocks: of the network.
        iterations: of WMMSE.

    Raises:
        ValueError: for an option below 1.
    """

    width: int = 512
    blocks: int = 6
    iterations: int = ITERATIONS
    tasks = ("precoding",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_one(self, "width", "blocks", "iterations")

    @abstractmethod
    def estimate(self, network: Any, observed: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and covariance of channels in beams, shapes (users, n) and (users, n, n), complex64.

        Args:
            network: what `build` returned.
            observed: beams, shape (users, n), complex64.
            error: variance of the error in each, shape (users,).
        """

    @abstractmethod
    def channel_loss(self, network: Any, channels: Tensor, observed: Tensor, error: Tensor, progress: float) -> Tensor:
        """Return the loss of users' true channels in beams, shape (users, n), given what `estimate` is; a scalar."""

    @over_subcarriers
    def forward(self, task: TaskSpec, obs: Obs) -> Action:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Where the task asks for the structure, which knows no covariances, return that of `robust_wmmse`.

        Raises:
            ValueError: for another array than that of the first task.
        """
        return posterior_wmmse(task, obs, self.posterior, self.iterations)

    def posterior(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, Tensor]:
        """Mean and covariance, in beams, of each user's channel given its observation.

        Args:
            task: on a single subcarrier.
            obs: with ``csi`` of shape (batch, users, antennas) and ``csi_noise_power``.

        Returns:
            Shapes (batch, users, antennas) and (batch, users, antennas, antennas), complex64; zero for users that take no part.

        Raises:
            ValueError: for another array than that of the first task.
        """
        csi, panel = obs["csi"], task.scenario.panel
        present = active_users(csi)
        observed, error = to_beams(csi, panel.rows, panel.columns)[present], _per_user(obs)[present]
        found = self.estimate(self._network(task), observed, error)
        mean, covariance = csi.new_zeros(csi.shape), csi.new_zeros(*csi.shape, csi.shape[-1])
        return mean.masked_scatter(present[..., None], found[0]), covariance.masked_scatter(present[..., None, None], found[1])

    def loss(self, task: Task, state: Any, obs: Obs, progress: float = 1.0) -> Tensor:
        """Return the loss of the estimate, by the true channels of all users that take part.

        Raises:
            ValueError: where channels are known perfectly, which leaves nothing to learn; for another array than before.
        """
        if "csi_noise_power" not in obs:
            raise ValueError(f"{self.name}: trains on noisy channels, got a task that knows them perfectly; set csi_snr_db")
        spec, folded = fold_subcarriers(task.spec, obs)
        panel, present = spec.scenario.panel, active_users(folded["csi"])
        observed, channels = (
            to_beams(h.view(folded["csi"].shape)[present], panel.rows, panel.columns) for h in (folded["csi"], state.h)
        )
        return self.channel_loss(self._network(spec), channels, observed, _per_user(folded)[present], progress)

    def _network(self, task: TaskSpec) -> SizedNetwork:
        network = cast(SizedNetwork, self.weights(task))
        network.require(self.name, **array_sizes(task.scenario.panel))
        return network


def array_sizes(panel: Panel) -> dict[str, object]:
    """What the weights are made for, as `SizedNetwork` takes it."""
    return {"rows": panel.rows, "columns": panel.columns, "polarisation": panel.polarisation}


def _per_user(obs: Obs) -> Tensor:
    return obs["csi_noise_power"][:, None].expand(obs["csi"].shape[:2])
