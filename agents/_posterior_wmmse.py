"""What agents do with a posterior of the users' channels: precode for it, whatever it comes from."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from wirelessgym.arrays import from_beams
from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec

from ._covariance_wmmse import covariance_wmmse
from ._linear import wants_structure
from .robust_wmmse import RobustWMMSE


def posterior_wmmse(
    task: TaskSpec, obs: Obs, posterior: Callable[[TaskSpec, Obs], tuple[Tensor, Tensor]], iterations: int
) -> Action:
    """Precode by covariance-aware WMMSE for a posterior in beams.

    Args:
        task: precoding on a single subcarrier.
        obs: its observation.
        posterior: called with both where the channel isn't known perfectly; returns mean, shape (batch, users, antennas), and
            covariance, shape (batch, users, antennas, antennas), complex64.
        iterations: of WMMSE.

    Returns:
        Precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``. With perfect knowledge those of
        `robust_wmmse`; likewise its structure, where the task asks for the structure, which knows no covariances.
    """
    if "csi_noise_power" not in obs or wants_structure(task):
        return RobustWMMSE().act(task, obs)
    mean, covariance = posterior(task, obs)
    w = covariance_wmmse(mean, covariance, obs["noise_power"], obs["tx_power"], iterations)
    return from_beams(w, task.scenario.panel.rows, task.scenario.panel.columns)
