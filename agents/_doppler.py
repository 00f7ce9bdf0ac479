"""Doppler spectra of short series: estimated, and turned into predictors.

A stationary series' covariance is Hermitian and Toeplitz. With time counted from the window's centre, sums and differences of
mirrored slots turn every wave ``exp(j 2 pi f t)`` into a real vector, and all matrices into real ones of the same size.

Sources: real form, Linebarger, DeGroat, Dowling, "Efficient direction-finding methods employing forward/backward averaging",
IEEE Trans. Signal Process. 42(8), 1994; iteration, Yardibi et al., "Source localization and sensing: a nonparametric
iterative adaptive approach based on weighted least squares", IEEE Trans. Aerosp. Electron. Syst. 46(1), 2010, with the square
root of SPICE, Stoica, Babu, Li, IEEE Trans. Signal Process. 59(2), 2011.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ._floors import TINY

FREQUENCIES = 48
TURNS = 10
ROUNDING = 1e-6  # share of a series' power, per slot: with less noise, its covariance is ill-conditioned in float32


@dataclass(frozen=True)
class Waves:
    """Waves of all frequencies over past and future slots, time counted from the past's centre.

    Attributes:
        past: real form, shape (past, FREQUENCIES), float32.
        products: ``b_f b_f^T`` of each, shape (FREQUENCIES, past * past).
        future: shape (future, FREQUENCIES), complex64.
    """

    past: Tensor
    products: Tensor
    future: Tensor


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # else waves first made for inference couldn't be used in training
def waves(num_past: int, num_future: int, highest: float, device: torch.device) -> Waves:
    """Return the waves, up to ``highest`` cycles per slot, for a window of ``num_past`` and ``num_future`` slots."""
    frequency = torch.linspace(-highest, highest, FREQUENCIES, device=device)
    time = torch.arange(num_past + num_future, device=device) - (num_past - 1) / 2
    angle = 2 * math.pi * time[:, None] * frequency
    past = real_form(torch.polar(torch.ones_like(angle), angle)[:num_past].mT).real.mT.contiguous()
    products = (past[:, None] * past[None]).flatten(0, 1).mT.contiguous()
    return Waves(past, products, torch.polar(torch.ones_like(angle), angle)[num_past:])


def real_form(series: Tensor) -> Tensor:
    """Unitary transform of (..., past), complex64, under which the waves are real: sums and differences of mirrored slots."""
    half = series.shape[-1] // 2
    late, early = series[..., series.shape[-1] - half :], series[..., :half].flip(-1)
    middle = series[..., half : series.shape[-1] - half]
    return torch.cat([(late + early) / math.sqrt(2), middle, (late - early) * (-1j / math.sqrt(2))], -1)


def spectra(snapshots: Tensor, noise_power: Tensor, highest: float) -> Tensor:
    """Doppler spectrum of each bin, from its own series and its neighbours'.

    Args:
        snapshots: shape (batch, bins, neighbours, past), complex64; the bin itself first.
        noise_power: shape (batch,).
        highest: frequency, cycles per slot.

    Returns:
        Power at each frequency, shape (batch, bins, FREQUENCIES), float32, summing to the bin's own power.
    """
    num_past = snapshots.shape[-1]
    basis = waves(num_past, 1, highest, snapshots.device).products
    noise = noise_power[:, None].expand(snapshots.shape[:2])
    pooled = (snapshots.abs().square().mean((-2, -1)) - noise).clamp_min(0.05 * noise)
    own = (snapshots[:, :, 0].abs().square().mean(-1) - noise).clamp_min(0.05 * noise)
    both = torch.view_as_real(real_form(snapshots)).movedim(-1, 2).flatten(2, 3)
    observed = both.mT @ both / snapshots.shape[2]
    spectrum = (pooled[..., None] / FREQUENCIES).expand(*pooled.shape, FREQUENCIES)
    for _ in range(TURNS):
        loaded = covariance(spectrum, above_rounding(noise, spectrum.sum(-1), num_past), basis)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(loaded))
        expected = inverse.flatten(-2) @ basis.mT
        explained = (inverse @ observed @ inverse).flatten(-2) @ basis.mT
        spectrum = spectrum * (explained.clamp_min(0) / expected.clamp_min(TINY)).sqrt()
    return spectrum * (own / spectrum.sum(-1).clamp_min(TINY))[..., None]


def above_rounding(noise_power: Tensor, power: Tensor, num_past: int) -> Tensor:
    """Effective noise power for series of some power: at very high SNR, enough to keep covariances invertible."""
    return torch.maximum(noise_power, ROUNDING * num_past * power)


def covariance(spectrum: Tensor, noise_power: Tensor, products: Tensor) -> Tensor:
    """``sum_f s_f b_f b_f^T + noise I``, shape (..., past, past), float32."""
    size = math.isqrt(products.shape[-1])
    matrix = (spectrum @ products).unflatten(-1, (size, size))
    return matrix + noise_power[..., None, None] * torch.eye(size, device=spectrum.device)


def predict(series: Tensor, spectrum: Tensor, noise_power: Tensor, num_future: int, highest: float) -> Tensor:
    """Linear MMSE prediction of series with known Doppler spectra.

    Args:
        series: shape (batch, bins, past), complex64.
        spectrum: shape (batch, bins, FREQUENCIES), float32.
        noise_power: shape (batch, bins).
        num_future: slots to predict.
        highest: frequency, cycles per slot.

    Returns:
        Shape (batch, bins, num_future), complex64.
    """
    basis = waves(series.shape[-1], num_future, highest, series.device)
    noise_power = above_rounding(noise_power, spectrum.sum(-1), series.shape[-1])
    matrix = covariance(spectrum, noise_power, basis.products)
    whitened = torch.linalg.solve(matrix, torch.view_as_real(real_form(series)))
    amplitude = torch.view_as_complex(((basis.past.mT @ whitened) * spectrum[..., None]).contiguous())
    return amplitude @ basis.future.mT


def predict_alike(
    series: Tensor, power: Tensor, spectrum: Tensor, noise_power: Tensor, num_future: int, highest: float
) -> Tensor:
    """Linear MMSE prediction of many series that share a Doppler spectrum but for their power.

    Args:
        series: shape (batch, series, past), complex64.
        power: of each, shape (batch, series).
        spectrum: shape (batch, FREQUENCIES), summing to 1.
        noise_power: shape (batch,).
        num_future: slots to predict.
        highest: frequency, cycles per slot.

    Returns:
        Shape (batch, series, num_future), complex64.
    """
    basis = waves(series.shape[-1], num_future, highest, series.device)
    values, vectors = torch.linalg.eigh(covariance(spectrum, torch.zeros_like(noise_power), basis.products))
    noise = above_rounding(noise_power[:, None], power, series.shape[-1])[..., None]
    gains = power[..., None] / (values.clamp_min(0)[:, None] * power[..., None] + noise)
    ahead = (basis.future * spectrum[:, None]) @ (basis.past.mT @ vectors).to(basis.future.dtype)
    return (gains * (real_form(series) @ vectors.to(series.dtype))) @ ahead.mT
