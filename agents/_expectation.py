"""Expectation-maximisation: the Gaussian mixture that makes given channels likely.

Source: Dempster, Laird, Rubin, "Maximum likelihood from incomplete data via the EM algorithm", J. R. Stat. Soc. B 39(1), 1977;
for channels, Koller, Fesl, Turan, Utschick (arXiv 2111.11064), section III.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ._covariances import Covariances, Parameters
from ._mixture import LARGEST_CHUNK, Mixture

FLOOR = 1e-3  # of a channel's mean power per entry
ROUNDS = 15  # of the clustering that EM starts from
UNDECIDED = 0.1  # share of each channel that the start spreads over all components


@dataclass(frozen=True)
class Fit:
    """What EM ends with.

    Attributes:
        weights: of the components, shape (components,).
        parameters: of their covariances, as their kind has them.
        likelihoods: after each turn, mean over channels of the logarithm of their density, penalised as `fit_mixture` says; nat.
    """

    weights: Tensor
    parameters: Parameters
    likelihoods: tuple[float, ...]


def fit_mixture(
    beams: Tensor,
    components: int,
    kind: Covariances,
    generator: torch.Generator,
    turns: int = 30,
    report: Callable[[int, float], None] | None = None,
) -> Fit:
    """Fit a zero-mean mixture.

    What never falls from turn to turn is the mean of ``log sum_k p_k exp(-log det C_k - h^H C_k^-1 h - f tr C_k^-1)``: the
    likelihood, with a penalty (f is a thousandth of the channels' mean power per entry) for components that collapse. Given the
    components' shares in the channels it is largest at their weighted sample covariance plus f I.

    Args:
        beams: channels' beams, shape (channels, n), complex64.
        components: of the mixture, at most as many as channels.
        kind: of covariances.
        generator: of the random start.
        turns: of EM.
        report: called after each turn with its number, from 1, and its likelihood.

    Raises:
        ValueError: for fewer channels than components.
    """
    if len(beams) < components:
        raise ValueError(f"a mixture of {components} components needs as many channels at least, got {len(beams)}")
    floor = FLOOR * beams.abs().square().mean()
    size = beams.shape[1]
    chunks = beams.split(max(1, LARGEST_CHUNK // size**2))
    counts, moments = torch.zeros(components), torch.zeros(components, 2 * size**2)
    for chunk, shares in zip(chunks, _first_shares(chunks, components, generator), strict=True):
        counts += shares.sum(0)
        moments += shares.mT @ _outer(chunk)
    parameters, likelihoods = None, []
    for turn in range(turns):
        weights = counts / len(beams)
        sample = moments / counts.clamp_min(1e-6)[:, None]
        sample = torch.view_as_complex(sample.unflatten(-1, (size, size, 2))) + floor * torch.eye(size, dtype=beams.dtype)
        parameters = kind.estimated(sample, parameters)
        mixture = Mixture.of(weights, kind.matrices(parameters))
        inverse = torch.view_as_real((mixture.vectors / mixture.values[:, None]) @ mixture.vectors.mH).flatten(1)
        constant = mixture.log_weights - mixture.values.log().sum(-1) - floor * (1 / mixture.values).sum(-1)
        total, counts, moments = 0.0, torch.zeros_like(counts), torch.zeros_like(moments)
        for chunk in chunks:
            outer = _outer(chunk)
            scores = torch.addmm(constant, outer, inverse.mT, alpha=-1)
            total += scores.logsumexp(-1).double().sum().item()
            shares = scores.softmax(-1)
            counts += shares.sum(0)
            moments += shares.mT @ outer
        likelihoods.append(total / len(beams))
        if report is not None:
            report(turn + 1, likelihoods[-1])
    assert parameters is not None
    return Fit(weights, parameters, tuple(likelihoods))


def _outer(beams: Tensor) -> Tensor:
    """``h h^H`` of each row in real numbers, (rows, n) to (rows, 2 n^2): sums over rows and quadratic forms are real products."""
    return torch.view_as_real(beams[:, :, None] * beams.conj()[:, None]).flatten(1)


def _first_shares(chunks: tuple[Tensor, ...], components: int, generator: torch.Generator) -> list[Tensor]:
    """Shares of the components in each channel: clusters of channels whose beams' amplitudes point the same way."""
    features = [chunk.abs() / chunk.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) for chunk in chunks]
    every = torch.cat(features)
    centres = every[torch.randperm(len(every), generator=generator)[:components]]
    for _ in range(ROUNDS):
        nearest = [(part @ centres.mT).argmax(-1) for part in features]
        sums = torch.zeros_like(centres).index_add(0, torch.cat(nearest), every)
        centres = sums / sums.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return [(1 - UNDECIDED) * torch.nn.functional.one_hot(part, components) + UNDECIDED / components for part in nearest]
