"""Orthogonal approximate message passing: a linear filter and a symbol-wise denoiser in alternation.

Both are built such that the error each hands on is uncorrelated with the error it got: the filter W by
``tr(W H) = users``, the denoiser by having no divergence. All filters are functions of the Gram matrix ``H^H H``, so
that one eigendecomposition per channel serves every slot and iteration.

Source: Ma, Ping, "Orthogonal AMP", IEEE Access 5, 2017; the estimate of the error variance is that of
He, Wen, Jin, Li, "Model-driven deep learning for MIMO detection", IEEE Trans. Signal Process. 68, 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.modulation import posterior_mean_variance
from wirelessgym.options import require_at_least_one
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import answer, matched, noise_power_of, points_of
from ._linear import active_users

SMALLEST_VARIANCE = 1e-6
STEEPEST = 0.9  # of the denoiser's mean slope, which is 1 for a useless denoiser


@dataclass(frozen=True)
class OAMP(Agent):
    """Detect by iterating a de-correlated LMMSE filter and the posterior mean over the constellation.

    Args:
        iterations: of filter and denoiser.
        divergence_free: whether the denoiser's output is cleared of its correlation with its input before the next
            filter; the last iteration always ends with the plain posterior mean.

    Raises:
        ValueError: for fewer than one iteration.
    """

    iterations: int = 10
    divergence_free: bool = True
    tasks = ("detection",)

    def __post_init__(self) -> None:
        require_at_least_one(self, "iterations")

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return posterior means, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: if the noise power is hidden.
        """
        points = points_of(task, obs["received"])
        noise_power = noise_power_of(obs, "oamp")[:, None, None]
        present = active_users(obs["csi"].mT)[:, None]
        eigenvalues, vectors = torch.linalg.eigh(obs["csi"].mH @ obs["csi"])
        eigenvalues = eigenvalues.clamp_min(0)[:, None]
        collected = matched(obs) @ vectors.conj()
        users = present.sum(-1, keepdim=True)
        mean = torch.zeros_like(collected)
        for turn in range(self.iterations):
            variance = error_variance(obs, mean, noise_power, eigenvalues)
            spectrum = decorrelated_spectrum(eigenvalues, noise_power / variance, users)
            innovation = collected - (mean @ vectors.conj()) * eigenvalues
            observation = mean + (spectrum * innovation) @ vectors.mT
            observed_variance = filtered_variance(eigenvalues, spectrum, variance, noise_power, users)
            mean, spread = posterior_mean_variance(observation, observed_variance, points)
            if self.divergence_free and turn < self.iterations - 1:
                slope = ((spread * present).sum(-1, keepdim=True) / users / observed_variance).clamp_max(STEEPEST)
                mean = (mean - slope * observation) / (1 - slope)
        return answer(task, mean, observation, observed_variance)


def error_variance(obs: Obs, mean: Tensor, noise_power: Tensor, eigenvalues: Tensor) -> Tensor:
    """Variance of the error of ``mean`` estimated from what ``y - H mean`` holds beyond noise, shape (batch, slots, 1)."""
    residual = obs["received"] - mean @ obs["csi"].mT
    beyond_noise = residual.abs().square().sum(-1, keepdim=True) - residual.shape[-1] * noise_power
    energy = eigenvalues.sum(-1, keepdim=True).clamp_min(torch.finfo(eigenvalues.dtype).tiny)
    return (beyond_noise / energy).clamp_min(SMALLEST_VARIANCE)


def decorrelated_spectrum(eigenvalues: Tensor, loading: Tensor, users: Tensor | int) -> Tensor:
    """The function f for which ``W = V f(eigenvalues) V^H H^H`` is the LMMSE filter scaled to ``tr(W H) = users``.

    Args:
        eigenvalues: of ``H^H H = V diag(eigenvalues) V^H``, shape (..., n).
        loading: noise power over the variance of the error to filter, shape (..., 1).
        users: with a channel, at most n; a number or shape (..., 1).
    """
    spectrum = 1 / (eigenvalues + loading)
    trace = (spectrum * eigenvalues).sum(-1, keepdim=True)
    return spectrum * (users / trace.clamp_min(torch.finfo(trace.dtype).tiny))


def filtered_variance(
    eigenvalues: Tensor, spectrum: Tensor, variance: Tensor, noise_power: Tensor, users: Tensor | int
) -> Tensor:
    """Mean variance after the filter: ``(tr(B B^H) variance + tr(W W^H) noise_power) / users``, ``B = I - W H``.

    Users without a channel keep all of their error, which is left out.
    """
    left_over = (1 - spectrum * eigenvalues).square() * variance
    total = (left_over + spectrum.square() * eigenvalues * noise_power).sum(-1, keepdim=True)
    return (total - (eigenvalues.shape[-1] - users) * variance) / users
