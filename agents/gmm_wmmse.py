"""A Gaussian mixture of channels, fitted to training episodes, and WMMSE with what it leaves unknown.

Channels of a cell come from few kinds of places; given the kind they are taken as Gaussian in the beams of the array. The mixture
says which kinds fit an observation, so it gives the posterior's mean and covariance in closed form for any noise, and
covariance-aware WMMSE makes the precoder.

Sources: Koller, Fesl, Turan, Utschick, "An asymptotically MSE-optimal estimator based on Gaussian mixture models", IEEE Trans.
Signal Process. 70, 2022 (arXiv 2111.11064); covariances for any array, Fesl, Joham, Hu, Koller, Turan, Utschick, "Channel
estimation based on Gaussian mixture models with structured covariances", 2022 (arXiv 2205.03634); precoder as in
`_covariance_wmmse`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wirelessgym.arrays import to_beams
from wirelessgym.fields import Action, Obs
from wirelessgym.fitted import Episodes, FittedAgent
from wirelessgym.options import require_at_least_one
from wirelessgym.scenario import Panel
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._covariance_wmmse import ITERATIONS
from ._covariances import Covariances, Full, Kronecker, Parameters, Toeplitz
from ._expectation import fit_mixture
from ._linear import block_diagonal
from ._mixture import Mixture
from ._posterior_wmmse import posterior_wmmse
from ._steering import Grid

ANY = "any"  # array that has no mixture of its own
LARGEST = 2**19  # numbers in a mixture


@dataclass(eq=False, kw_only=True)
class GMMWMMSE(FittedAgent):
    """Posterior under a Gaussian mixture, then covariance-aware WMMSE. With perfect knowledge it is `robust_wmmse`.

    Channels are taken to have a mean power of 1 per antenna, as scenarios' normalisation gives them.

    Args:
        components: of each array's own mixture; fewer where they would take more than a megabyte in half precision (64 for 64
            antennas).
        plane_wave_components: of the mixture of plane waves.
        covariance: of the components: ``"full"``; ``"kronecker"``: a product of rows' and columns'; both need a mixture for each
            size of array. ``"toeplitz"``: one mixture of plane waves, fitted on the largest array, which serves all.
        turns: of expectation-maximisation.
        largest_array: arrays of more antennas get no mixture of their own; they, and sizes that weren't in the fit, are served by
            the one of plane waves.
        white_share: weight of one more component, whose antennas are independent: channels of another kind than those fitted.
        iterations: of WMMSE.

    Raises:
        ValueError: for an option out of range.
    """

    components: int = 128
    plane_wave_components: int = 32
    covariance: Literal["full", "toeplitz", "kronecker"] = "full"
    turns: int = 25
    largest_array: int = 64
    white_share: float = 0.05
    iterations: int = ITERATIONS

    checkpoint: str | None = "shipped"
    tasks = ("precoding",)
    only_when_named = False  # its mixtures come with it

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_one(self, "components", "plane_wave_components", "turns", "iterations")
        if self.covariance not in ("full", "toeplitz", "kronecker"):
            raise ValueError(f"covariance: expected full, toeplitz or kronecker, got {self.covariance!r}")
        if not 0 <= self.white_share < 1:
            raise ValueError(f"white_share: expected a number in [0, 1), got {self.white_share}")
        self._mixtures: dict[Panel, Mixture] = {}

    @over_subcarriers
    def forward(self, task: TaskSpec, obs: Obs) -> Action:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Where the task asks for the structure, which knows no covariances, return that of `robust_wmmse`.
        """
        return posterior_wmmse(task, obs, self.posterior, self.iterations)

    def posterior(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, Tensor]:
        """Mean and covariance, in beams, of each user's channel given its observation.

        Args:
            task: on a single subcarrier.
            obs: with ``csi`` of shape (batch, users, antennas) and ``csi_noise_power``.

        Returns:
            Shapes (batch, users, antennas) and (batch, users, antennas, antennas), complex64; zero for users that take no part.
            Polarisations are independent where the array has no mixture of its own.
        """
        panel, error = task.scenario.panel, obs["csi_noise_power"]
        beams, mixture = to_beams(obs["csi"], panel.rows, panel.columns), self.mixture(task)
        parts = beams.unflatten(-1, (-1, mixture.size))
        mean, covariance = mixture.posterior(parts.flatten(1, 2), error)
        blocks = covariance.unflatten(1, parts.shape[1:3])
        return mean.view(beams.shape), block_diagonal(blocks)

    def mixture(self, task: TaskSpec) -> Mixture:
        """Return the mixture for the task's array: of its beams, or of those of one polarisation.

        Raises:
            ValueError: if none was fitted.
        """
        panel = task.scenario.panel
        if panel not in self._mixtures:
            found = self.estimates(task)
            name = _name(panel) if f"{_name(panel)}/weights" in found else ANY
            parameters = {
                entry.partition("/")[2]: value.float() for entry, value in found.items() if entry.startswith(f"{name}/")
            }
            weights, covariances = parameters.pop("weights"), _matrices(parameters, panel)
            white = torch.eye(covariances.shape[-1], dtype=covariances.dtype)[None]
            share = torch.full((1,), self.white_share)
            self._mixtures[panel] = Mixture.of(
                torch.cat([weights * (1 - self.white_share), share]), torch.cat([covariances, white])
            )
        return self._mixtures[panel]

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """See `FittedAgent.load_tensors`."""
        super().load_tensors(tensors)
        self._mixtures.clear()

    def fit(self, episodes: Episodes, generator: torch.Generator, say: Callable[[str], None]) -> dict[str, Tensor]:
        """Fit a mixture to the true channels of each array, and one of plane waves to those of the largest."""
        channels = _channels(episodes)
        largest = max(channels, key=lambda panel: panel.rows * panel.columns)
        waves = Toeplitz(Grid(largest.rows, largest.columns, 2 * largest.rows, 2 * largest.columns))
        jobs: dict[str, tuple[Covariances, Tensor]] = {ANY: (waves, channels[largest].view(-1, largest.rows * largest.columns))}
        for panel, beams in channels.items():
            if self.covariance != "toeplitz" and panel.num_antennas <= self.largest_array:
                jobs[_name(panel)] = Full() if self.covariance == "full" else Kronecker(panel.rows, panel.columns), beams
        tensors: dict[str, Tensor] = {}
        for name, (kind, beams) in jobs.items():
            components = min(self.components, LARGEST // (2 * beams.shape[1] ** 2)) if name != ANY else self.plane_wave_components
            fitted = fit_mixture(beams, max(components, 1), kind, generator, self.turns)
            say(
                f"{name}: {len(beams):,} channels, log-likelihood {fitted.likelihoods[0]:.3f} to {fitted.likelihoods[-1]:.3f} nat"
            )
            tensors[f"{name}/weights"] = fitted.weights
            tensors |= {f"{name}/{entry}": value.half() for entry, value in fitted.parameters.items()}
        return tensors


def _channels(episodes: Episodes) -> dict[Panel, Tensor]:
    """True channels' beams by array, each of shape (channels, antennas)."""
    found: dict[Panel, list[Tensor]] = {}
    for task, state, _ in episodes:
        panel = task.scenario.panel
        found.setdefault(panel, []).append(to_beams(state.h, panel.rows, panel.columns)[(state.h != 0).any(-1)])
    return {panel: torch.cat(parts) for panel, parts in found.items()}


def _matrices(parameters: Parameters, panel: Panel) -> Tensor:
    """Covariances on an array, of the kind that has such parameters."""
    if "factor" in parameters:
        return Full().matrices(parameters)
    if "rows" in parameters:
        return Kronecker(panel.rows, panel.columns).matrices(parameters)
    column_points, row_points = parameters["spectrum"].shape[1:]
    return Toeplitz(Grid(panel.rows, panel.columns, row_points, column_points)).matrices(parameters)


def _name(panel: Panel) -> str:
    """Of an array's own mixture."""
    return f"{panel.rows}x{panel.columns}" + ("" if panel.polarisation == "single" else "x2")
