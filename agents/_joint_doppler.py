"""Doppler spectra of plane waves that overlap in space and delay, by maximum likelihood, and the predictor that belongs to them.

Each wave's amplitude is a Gaussian process over the slots with a power spectrum of its own. Multiplying a power by the square
root of what the data explain over what the model expects never lowers the likelihood; spectra start from one that all waves
share, which says how fast the user is.

Sources: Stoica, Babu, "SPICE and LIKES: two hyperparameter-free methods for sparse-parameter estimation", Signal Process. 92(7),
2012; Sun, Babu, Palomar, "Majorization-minimization algorithms in signal processing, communications, and machine learning",
IEEE Trans. Signal Process. 65(3), 2017 (the iteration as maximum likelihood).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._doppler import FREQUENCIES, real_form, waves
from ._floors import TINY
from ._plane_waves import PlaneWaves, gram

_SHARED_TURNS = 16  # of the spectrum that all waves share
_OWN_TURNS = 6  # of spectra of their own: more would turn them into lines
_LEAST_WEIGHT = 1e-4  # of a direction among the slots, relative to the strongest: Doppler shifts hardly reach the others
_LEAST_LEVEL = 1e-10  # of noise, relative to the waves' energy


@dataclass(frozen=True)
class Band:
    """Directions among the past slots that Doppler shifts within a band reach, and its waves.

    Attributes:
        basis: of `real_form`'s slots, orthonormal, shape (past, directions), float64.
        past: waves in that basis, real, shape (directions, FREQUENCIES), float64.
        slots: waves at the past slots, shape (past, FREQUENCIES), complex128.
        future: waves at the future slots, shape (future, FREQUENCIES), complex128.
    """

    basis: Tensor
    past: Tensor
    slots: Tensor
    future: Tensor


def band(num_past: int, num_future: int, highest: float, device: torch.device) -> Band:
    """Return the band of up to ``highest`` cycles per slot."""
    known = waves(num_past, num_future, highest, device)
    past = known.past.double()
    directions, strength, _ = torch.linalg.svd(past, full_matrices=False)
    basis = directions[:, strength.square() > _LEAST_WEIGHT * strength[0].square()]
    to_real_form = real_form(torch.eye(num_past, dtype=torch.complex128, device=device))
    slots = to_real_form.conj() @ past.to(torch.complex128)
    return Band(basis, basis.mT @ past, slots, known.future.to(torch.complex128))


def to_band(series: Tensor, basis: Tensor) -> Tensor:
    """Coordinates of (..., past) in the band, (..., directions), complex64."""
    return real_form(series) @ basis.to(series.dtype)


@dataclass(frozen=True)
class Overlapping:
    """Amplitudes of plane waves, whitened: ``seen = mixing a / level`` plus noise of power 1. In double precision.

    Attributes:
        mixing: upper triangular, its Gram matrix the waves', shape (batch, waves, waves), complex128.
        seen: shape (batch, waves, directions, polarisations), complex128.
        error: variance of the noise on the amplitudes if they are solved for, shape (batch, waves).
        level: amplitude of the noise that was made 1, shape (batch, 1, 1, 1).
    """

    mixing: Tensor
    seen: Tensor
    error: Tensor
    level: Tensor


def overlapping(found: PlaneWaves, snapshots: Tensor, noise_power: Tensor) -> Overlapping:
    """Project snapshots, shape (batch, directions, polarisations, entries), on the waves.

    What the waves leave, if that is more than ``noise_power``, shape (batch,), counts as noise.
    """
    # Beside strong waves that lie close together there is little noise: single precision would make covariances indefinite.
    values, snapshots = found.values.to(torch.complex128), snapshots.to(torch.complex128)
    lower = torch.linalg.cholesky(gram(values))
    projected = torch.einsum("bwn,bdpn->bwdp", values.conj(), snapshots)
    seen = torch.linalg.solve_triangular(lower, projected.flatten(2), upper=False).view_as(projected)
    error = torch.cholesky_inverse(lower).diagonal(dim1=-2, dim2=-1).real
    energy = seen.abs().square().flatten(1).sum(1)
    dimensions = snapshots.shape[1] * snapshots.shape[2] * (snapshots.shape[3] - found.present.sum(1)).clamp_min(1)
    left = (snapshots.abs().square().flatten(1).sum(1) - energy) / dimensions
    level = torch.maximum(torch.maximum(noise_power, left), _LEAST_LEVEL * energy).sqrt()[:, None, None, None]
    return Overlapping(lower.mH, seen / level, error, level)


def shared_spectrum(waves_seen: Overlapping, present: Tensor, within: Band) -> Tensor:
    """Spectra that differ in power only, shape (batch, waves, FREQUENCIES), float64; overlap counts as more noise."""
    seen = waves_seen.seen
    amplitude = torch.linalg.solve_triangular(waves_seen.mixing, seen.flatten(2), upper=True).view_as(seen)
    power = amplitude.abs().square().mean(-1).sum(-1) / within.slots.shape[0] * present
    shape = power.new_full((len(power), FREQUENCIES), 1 / FREQUENCIES)
    products = (within.past[:, None] * within.past[None]).flatten(0, 1)
    identity = torch.eye(len(within.past), device=power.device)
    for _ in range(_SHARED_TURNS):
        model = (shape @ products.mT).unflatten(-1, identity.shape)[:, None] * power[..., None, None]
        inverse = torch.linalg.inv(model + waves_seen.error[..., None, None] * identity)
        whitened = within.past.mT.to(seen.dtype) @ (inverse.to(seen.dtype) @ amplitude)
        explained = whitened.abs().square().mean(-1)
        expected = inverse.flatten(-2) @ products
        raised = (explained * shape[:, None]).sum(-1) / (expected * shape[:, None]).sum(-1).clamp_min(TINY)
        weight = power[..., None]
        shape = shape * ((explained * weight).sum(1) / (expected * weight).sum(1).clamp_min(TINY)).sqrt()
        shape = shape / shape.sum(-1, keepdim=True).clamp_min(TINY)
        power = power * raised.sqrt()
    return power[..., None] * shape[:, None]


def own_spectra(waves_seen: Overlapping, spectrum: Tensor, within: Band) -> Tensor:
    """Spectra of the waves' own, all waves jointly, from those they share, shape (batch, waves, FREQUENCIES), float64."""
    for _ in range(_OWN_TURNS):
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(_covariance(waves_seen, spectrum, within)))
        explained = _matched(waves_seen, inverse @ _stacked(waves_seen.seen), within).abs().square().mean(-1)
        size, directions = waves_seen.mixing.shape[-1], len(within.past)
        inverse = inverse.unflatten(1, (size, directions)).unflatten(3, (size, directions))
        half = torch.einsum("bpi,bpsqt->bisqt", waves_seen.mixing.conj(), inverse)
        blocks = torch.einsum("bisqt,bqi->bist", half, waves_seen.mixing).real
        expected = torch.einsum("bist,sf,tf->bif", blocks, within.past, within.past)
        spectrum = spectrum * (explained / expected.clamp_min(TINY)).sqrt()
    return spectrum


def posterior(waves_seen: Overlapping, spectrum: Tensor, within: Band) -> tuple[Tensor, Tensor]:
    """Linear MMSE estimates of the amplitudes at past and at future slots.

    Returns:
        Shapes (batch, waves, past, polarisations) and (batch, waves, future, polarisations), complex128.
    """
    whitened = torch.linalg.solve(_covariance(waves_seen, spectrum, within), _stacked(waves_seen.seen))
    amplitude = spectrum[..., None] * _matched(waves_seen, whitened, within) * waves_seen.level
    return within.slots @ amplitude, within.future @ amplitude


def _covariance(waves_seen: Overlapping, spectrum: Tensor, within: Band) -> Tensor:
    """Of what is seen, noise included, shape (batch, waves * directions, waves * directions)."""
    each = torch.einsum("bif,sf,tf->bist", spectrum, within.past, within.past).to(waves_seen.mixing.dtype)
    mixed = torch.einsum("bpi,bist,bqi->bpsqt", waves_seen.mixing, each, waves_seen.mixing.conj())
    matrix = mixed.flatten(3).flatten(1, 2)
    return matrix + torch.eye(matrix.shape[-1], device=matrix.device)


def _matched(waves_seen: Overlapping, whitened: Tensor, within: Band) -> Tensor:
    """Inner product with every wave at every frequency, shape (batch, waves, FREQUENCIES, polarisations)."""
    size, directions = waves_seen.mixing.shape[-1], len(within.past)
    whitened = whitened.unflatten(1, (size, directions))
    return torch.einsum("bpi,bpds,df->bifs", waves_seen.mixing.conj(), whitened, within.past.to(whitened.dtype))


def _stacked(seen: Tensor) -> Tensor:
    return seen.flatten(1, 2)
