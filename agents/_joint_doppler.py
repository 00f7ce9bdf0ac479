"""Doppler spectra of plane waves that overlap in space and delay, by maximum likelihood, and the predictor that belongs to them.

Each wave's amplitude is a Gaussian process over the slots with a power spectrum of its own. Multiplying a power by the square
root of what the data explain over what the model expects never lowers the likelihood; spectra start from one that all waves
share, which says how fast the user is.

Sources: Stoica, Babu, "SPICE and LIKES: two hyperparameter-free methods for sparse-parameter estimation", Signal Process. 92(7),
2012; Sun, Babu, Palomar, "Majorization-minimization algorithms in signal processing, communications, and machine learning",
IEEE Trans. Signal Process. 65(3), 2017 (the iteration as maximum likelihood).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ._doppler import FREQUENCIES, real_form, waves
from ._floors import TINY
from ._plane_waves import PlaneWaves

_SHARED_TURNS = 32  # of the spectrum that all waves share
_INNER_TURNS = 3  # of a wave's spectrum before the others are looked at again
_LEAST_WEIGHT = 1e-4  # of a direction among the slots, relative to the strongest: Doppler shifts hardly reach the others
_STRONG_WEIGHT = 0.1  # likewise, for finding waves
_LEAST_LEVEL = 1e-10  # of noise, relative to the waves' energy


@dataclass(frozen=True)
class Band:
    """Directions among the past slots that Doppler shifts within a band reach, and its waves.

    Attributes:
        basis: of `real_form`'s slots, orthonormal, shape (past, directions), float64.
        past: waves in that basis, real, shape (directions, FREQUENCIES), float64.
        slots: waves at the past slots, shape (past, FREQUENCIES), complex128.
        future: waves at the future slots, shape (future, FREQUENCIES), complex128.
        strong: number of directions, the first ones, that hold most of such waves' energy.
    """

    basis: Tensor
    past: Tensor
    slots: Tensor
    future: Tensor
    strong: int


def band(num_past: int, num_future: int, highest: float, device: torch.device) -> Band:
    """Return the band of up to ``highest`` cycles per slot."""
    known = waves(num_past, num_future, highest, device)
    past = known.past.double()
    directions, strength, _ = torch.linalg.svd(past, full_matrices=False)
    basis = directions[:, strength.square() > _LEAST_WEIGHT * strength[0].square()]
    to_real_form = real_form(torch.eye(num_past, dtype=torch.complex128, device=device))
    slots = to_real_form.conj() @ past.to(torch.complex128)
    strong = int((strength.square() > _STRONG_WEIGHT * strength[0].square()).sum())
    return Band(basis, basis.mT @ past, slots, known.future.to(torch.complex128), strong)


def to_band(series: Tensor, basis: Tensor) -> Tensor:
    """Coordinates of (..., past) in the band, (..., directions), complex64."""
    return real_form(series) @ basis.to(series.dtype)


@dataclass(frozen=True)
class Overlapping:
    """Least-squares amplitudes of plane waves, noise power 1. In double precision.

    Attributes:
        amplitude: shape (batch, waves, directions, polarisations), complex128.
        error: covariance of the noise on them, the same in all directions, shape (batch, waves, waves), float64.
        level: amplitude of the noise that was made 1, shape (batch, 1, 1, 1).
    """

    amplitude: Tensor
    error: Tensor
    level: Tensor


def overlapping(found: PlaneWaves, snapshots: Tensor, noise_power: Tensor) -> Overlapping:
    """Project snapshots, shape (batch, directions, polarisations, entries), on the waves.

    What the waves leave, if that is more than ``noise_power``, shape (batch,), counts as noise.
    """
    # Beside strong waves that lie close together there is little noise: single precision would make covariances indefinite.
    error = torch.cholesky_inverse(torch.linalg.cholesky(found.gram().double()))
    projected = (found.values() @ snapshots.flatten(1, 2).mH).conj().to(torch.complex128)
    amplitude = error.to(projected.dtype) @ projected
    energy = (projected.conj() * amplitude).real.flatten(1).sum(1)
    dimensions = snapshots.shape[1] * snapshots.shape[2] * (snapshots.shape[3] - found.present.sum(1)).clamp_min(1)
    left = (snapshots.abs().square().double().flatten(1).sum(1) - energy) / dimensions
    level = torch.maximum(torch.maximum(noise_power, left), _LEAST_LEVEL * energy).sqrt()[:, None, None, None]
    return Overlapping(amplitude.unflatten(2, snapshots.shape[1:3]) / level, error, level)


def shared_spectrum(waves_seen: Overlapping, present: Tensor, within: Band) -> Tensor:
    """Spectra that differ in power only, shape (batch, waves, FREQUENCIES), float64; overlap counts as more noise."""
    observed = _sample_covariance(waves_seen.amplitude).flatten(-2)
    noise = waves_seen.error.diagonal(dim1=-2, dim2=-1)[..., None, None] * torch.eye(len(within.past), device=observed.device)
    power = waves_seen.amplitude.abs().square().mean(-1).sum(-1) / within.slots.shape[0] * present
    shape = power.new_full((len(power), FREQUENCIES), 1 / FREQUENCIES)
    products = _products(within)
    for _ in range(_SHARED_TURNS):
        model = (shape @ products.mT).view(-1, 1, *noise.shape[-2:]) * power[..., None, None]
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(model + noise))
        explained = (inverse @ observed.view_as(inverse) @ inverse).flatten(-2) @ products
        expected = inverse.flatten(-2) @ products
        raised = (explained * shape[:, None]).sum(-1) / (expected * shape[:, None]).sum(-1).clamp_min(TINY)
        weight = power[..., None]
        shape = shape * ((explained * weight).sum(1) / (expected * weight).sum(1).clamp_min(TINY)).clamp_min(0).sqrt()
        shape = shape / shape.sum(-1, keepdim=True).clamp_min(TINY)
        power = power * raised.clamp_min(0).sqrt()
    return power[..., None] * shape[:, None]


@dataclass(frozen=True)
class OwnDirections:
    """Amplitudes in directions among the slots in which all waves' mean covariance is diagonal, per episode.

    Waves that interfere are taken to be uncorrelated between these directions: those that share a spectrum are so exactly.

    Attributes:
        amplitude: real and imaginary parts, shape (batch, directions, waves, 2 * polarisations), float64.
        error: covariance of the noise on them, shape (batch, 1, waves, waves).
        products: each frequency's covariance, shape (batch, directions * directions, FREQUENCIES).
    """

    amplitude: Tensor
    error: Tensor
    products: Tensor

    def model(self, spectrum: Tensor) -> Tensor:
        """Covariances of the amplitudes, shape (batch, waves, directions, directions)."""
        return (spectrum @ self.products.mT).unflatten(-1, (self.amplitude.shape[1], -1))

    def apart(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """What all other waves leave of each: its sample covariance and the variance of the noise in it.

        Returns:
            Shapes (batch, waves, directions, directions) and (batch, waves, directions), float64.
        """
        own = self.model(spectrum).diagonal(dim1=-2, dim2=-1).mT
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(torch.diag_embed(own) + self.error))
        precision = inverse.diagonal(dim1=-2, dim2=-1)
        alone = ((inverse @ self.amplitude) / precision[..., None]).transpose(1, 2)
        return alone @ alone.mT * (2 / alone.shape[-1]), (1 / precision - own).mT

    def turn(self, spectrum: Tensor) -> Tensor:
        """Let every wave's spectrum adapt to what the others leave of it."""
        observed, noise = self.apart(spectrum)
        for _ in range(_INNER_TURNS):
            explained, expected = self.fit(spectrum, observed, noise)
            spectrum = spectrum * (explained.clamp_min(TINY) / expected.clamp_min(TINY)).sqrt()
        return spectrum

    def fit(self, spectrum: Tensor, observed: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Power at each frequency that the data explain and that the model expects, shape (batch, waves, FREQUENCIES)."""
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(self.model(spectrum) + torch.diag_embed(noise)))
        return (inverse @ observed @ inverse).flatten(-2) @ self.products, inverse.flatten(-2) @ self.products


def own_directions(waves_seen: Overlapping, spectrum: Tensor, within: Band) -> OwnDirections:
    """Turn amplitudes to the directions of the spectra's mean, shape of spectra (batch, waves, FREQUENCIES)."""
    _, vectors = torch.linalg.eigh(_models(spectrum.sum(1), _products(within)))
    past = vectors.mT @ within.past
    amplitude = vectors.mT[:, None] @ torch.view_as_real(waves_seen.amplitude).flatten(-2)
    products = (past[:, :, None] * past[:, None]).flatten(1, 2)
    return OwnDirections(amplitude.transpose(1, 2).contiguous(), waves_seen.error[:, None], products)


def posterior(waves_seen: Overlapping, spectrum: Tensor, within: Band) -> tuple[Tensor, Tensor]:
    """Linear MMSE estimates of the amplitudes at past and at future slots.

    Returns:
        Shapes (batch, waves, past, polarisations) and (batch, waves, future, polarisations), complex128.
    """
    factor = torch.linalg.cholesky(_covariance(waves_seen, spectrum, within))
    columns = torch.view_as_real(waves_seen.amplitude).flatten(1, 2).flatten(2)
    whitened = torch.view_as_complex(torch.cholesky_solve(columns, factor).contiguous().view(*waves_seen.amplitude.shape, 2))
    amplitude = spectrum[..., None] * (within.past.mT.to(whitened.dtype) @ whitened) * waves_seen.level
    return within.slots @ amplitude, within.future @ amplitude


def _products(within: Band) -> Tensor:
    """Each frequency's covariance, shape (directions * directions, FREQUENCIES)."""
    return (within.past[:, None] * within.past[None]).flatten(0, 1)


def _models(spectrum: Tensor, products: Tensor) -> Tensor:
    """Covariances of the amplitudes, shape (batch, waves, directions, directions)."""
    size = math.isqrt(len(products))
    return (spectrum @ products.mT).unflatten(-1, (size, size))


def _sample_covariance(amplitude: Tensor) -> Tensor:
    """Over polarisations, real parts as models are real, shape (batch, waves, directions, directions)."""
    columns = torch.view_as_real(amplitude).flatten(-2)
    return columns @ columns.mT / amplitude.shape[-1]


def _covariance(waves_seen: Overlapping, spectrum: Tensor, within: Band) -> Tensor:
    """Of all amplitudes, noise included, shape (batch, waves * directions, waves * directions)."""
    identity = torch.eye(len(within.past), dtype=spectrum.dtype, device=spectrum.device)
    noise = waves_seen.error[:, :, None, :, None] * identity[:, None]
    return (noise + _diagonal(_models(spectrum, _products(within)))).flatten(3).flatten(1, 2)


def _diagonal(blocks: Tensor) -> Tensor:
    """From (batch, waves, d, d), zeros elsewhere: (batch, waves, d, waves, d)."""
    return torch.diag_embed(blocks.movedim(1, -1), dim1=1, dim2=3)
