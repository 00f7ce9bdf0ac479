"""Noise on what was measured: drawn where it is added, a row at a time, so that it never leaves the processor's cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def add_noise_(h: Tensor, deviation: Tensor, rows: Sequence[Sequence[torch.Generator]]) -> Tensor:
    """Add circularly symmetric complex Gaussian noise to ``h`` in place, and return it.

    Args:
        h: shape (batch, slots, ...), complex64.
        deviation: standard deviation of each row's noise, shape (batch,).
        rows: a generator for each slot of each row, batch by slots.
    """
    noise = torch.empty(h.shape[1:], dtype=h.dtype)
    for row, scale, slots in zip(h, deviation, rows, strict=True):
        for part, generator in zip(noise, slots, strict=True):
            part.normal_(generator=generator)
        row += noise.to(h.device) * scale
    return h
