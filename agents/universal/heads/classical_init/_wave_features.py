"""What the channel prediction head reads of plane waves: numbers that don't change with the channel's phase or scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...._doppler import FREQUENCIES
from ...._wave_start import WaveStart
from .._layers import TINY

NUM_FEATURES = 2 * FREQUENCIES + 12


def describe(start: WaveStart) -> Tensor:
    """Features of each wave, shape (batch, waves, NUM_FEATURES), float32; zero for absent ones.

    They are its spectrum, how far the data disagree with that at each frequency, its power over noise and over the strongest,
    the noise that other waves leave in it, centre and width of its spectrum, and its place.
    """
    spectrum = start.spectrum
    observed, noise = start.own.apart(spectrum)
    explained, expected = start.own.fit(spectrum, observed, noise)
    power = spectrum.sum(-1, keepdim=True).clamp_min(TINY)
    relative = torch.linspace(-1, 1, FREQUENCIES, dtype=spectrum.dtype, device=spectrum.device)
    centre = (spectrum * relative).sum(-1, keepdim=True) / power
    angle = 2 * math.pi * start.found.place
    features = torch.cat(
        [
            torch.log(spectrum / power * FREQUENCIES + 1e-3) / 3,
            torch.log((explained.clamp_min(0) + TINY) / (expected + TINY)).clamp(-6, 6) / 3,
            torch.log(power) / 3,
            torch.log(power / power.amax(1, keepdim=True) + 1e-6) / 3,
            torch.log(start.seen.error.diagonal(dim1=-2, dim2=-1)[..., None]) / 3,
            torch.log(noise.mean(-1, keepdim=True).clamp_min(TINY)) / 3,
            centre,
            (spectrum * relative.square()).sum(-1, keepdim=True) / power - centre.square(),
            angle.sin(),
            angle.cos(),
        ],
        -1,
    )
    return torch.where(start.found.present[..., None], features.float(), 0)
