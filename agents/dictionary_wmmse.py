"""Channel knowledge without training: find the plane waves of every user's channel, then WMMSE with what stays unknown.

A user's channel is taken as a sum of plane waves on a grid finer than the array resolves, each with a random amplitude whose
variance is unknown. The variances that make the observation most likely are found by iterations that never make it less likely;
given them, the channel's posterior mean and covariance are a Wiener filter's.

Sources: Stoica, Babu, "SPICE and LIKES: two hyperparameter-free methods for sparse-parameter estimation", Signal Process. 92(7),
2012, for the iteration with the weights of LIKES, which is maximum likelihood; for channels of planar arrays, Sun, Babu, Palomar,
"Robust estimation of structured covariance matrix for heavy-tailed elliptical distributions", IEEE Trans. Signal Process. 64(14),
2016; precoder as in `_covariance_wmmse`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.options import require_at_least_one
from wirelessgym.scenario import Panel
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._covariance_wmmse import ITERATIONS, covariance_wmmse
from ._linear import active_users, block_diagonal, wants_structure
from ._steering import Grid
from .robust_wmmse import LEAST_SIGNAL, RobustWMMSE

TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class DictionaryWMMSE(Agent):
    """Posterior by sparse plane waves, then covariance-aware WMMSE. With perfect knowledge it is `robust_wmmse`.

    Args:
        turns: of the search for the plane waves' powers.
        oversampling: points of the grid per row and column of the panel.
        iterations: of WMMSE.

    Raises:
        ValueError: for an option below 1.
    """

    turns: int = 8
    oversampling: int = 4
    iterations: int = ITERATIONS
    tasks = ("precoding",)

    def __post_init__(self) -> None:
        require_at_least_one(self, "turns", "oversampling", "iterations")

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Where the task asks for the structure, which knows no covariances, return that of `robust_wmmse`.
        """
        if "csi_noise_power" not in obs or wants_structure(task):
            return RobustWMMSE().act(task, obs)
        mean, covariance = sparse_posterior(
            obs["csi"], obs["csi_noise_power"], task.scenario.panel, self.turns, self.oversampling
        )
        return covariance_wmmse(mean, covariance, obs["noise_power"], obs["tx_power"], self.iterations)


def sparse_posterior(
    csi: Tensor, csi_noise_power: Tensor, panel: Panel, turns: int = 8, oversampling: int = 4
) -> tuple[Tensor, Tensor]:
    """Posterior mean and covariance of channels that are sums of few plane waves.

    Polarisations of a dual-polarised panel share their directions and powers, with independent amplitudes.

    Args:
        csi: observed, shape (batch, users, antennas), complex64; rows of zeros are no users.
        csi_noise_power: variance of the error on each entry, shape (batch,); positive.
        panel: the base station's array.
        turns: of the search.
        oversampling: points of the grid per row and column.

    Returns:
        Shapes (batch, users, antennas) and (batch, users, antennas, antennas), complex64; zero for rows of zeros.
    """
    grid = Grid(panel.rows, panel.columns, oversampling * panel.rows, oversampling * panel.columns)
    size = panel.rows * panel.columns
    observed = csi.unflatten(-1, (-1, size))  # (batch, users, polarisations, size)
    error = csi_noise_power[:, None]
    excess = observed.abs().square().mean((-2, -1)) - error
    power = torch.maximum(excess, LEAST_SIGNAL * error)
    spectrum = (power / (grid.row_points * grid.column_points))[..., None, None].expand(*power.shape, *grid.points)
    noise = torch.diag_embed(error[..., None].expand(*power.shape, size)).to(csi.dtype)
    for _ in range(turns):
        inverse = torch.linalg.inv(grid.covariance(spectrum) + noise)
        heard = grid.correlations(observed @ inverse.mT).abs().square().mean(2)
        expected = grid.quadratic_forms(inverse)
        # A user without a channel is heard nowhere: kept above zero, the root's gradient is finite.
        spectrum = spectrum * (heard / expected.clamp_min(TINY)).clamp_min(TINY).sqrt()
    prior = grid.covariance(spectrum)
    gain = torch.linalg.solve(prior + noise, prior).mH  # C (C + e I)^-1, as both are Hermitian
    left = (error[..., None, None] * gain) * active_users(csi)[..., None, None]
    mean = (observed @ gain.mT).flatten(-2)
    return mean, block_diagonal(left[:, :, None].expand(*observed.shape[:3], size, size))
