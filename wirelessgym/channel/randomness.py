"""Random numbers that belong to an episode: every row draws from its own generator, so no row sees its neighbours.

A generator is named by (seed, episode, purpose, slot). torch's CPU generator takes 32 bits of seed, so the names are hashed to 32
bits such that all episodes of one (seed, purpose, slot) get different generators, whatever their number.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B1  # odd, so multiplication modulo 2^32 is one to one


def generators(seed: Tensor, episode: Tensor, purpose: str, slot: Tensor | None = None) -> list[torch.Generator]:
    """Return one generator per row.

    Args:
        seed: shape (batch,), int64.
        episode: shape (batch,), int64.
        purpose: what the numbers are for; different purposes are independent.
        slot: time slot or step that they belong to, shape (batch,), int64; None for what is drawn once.
    """
    slots = [0] * len(seed) if slot is None else slot.tolist()
    bases: dict[tuple[int, int], int] = {}
    result = []
    for s, n, t in zip(seed.tolist(), episode.tolist(), slots, strict=True):
        if (s, t) not in bases:
            name = struct.pack("<qq", s, t) + purpose.encode()
            bases[s, t] = int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), "little")
        result.append(torch.Generator().manual_seed((bases[s, t] + n * _GOLDEN) % 2**32))
    return result


def uniform(shape: Sequence[int], rows: Sequence[torch.Generator], low: float = 0.0, high: float = 1.0) -> Tensor:
    """Draw float32 numbers in [low, high), shape (rows, *shape)."""
    return torch.stack([torch.rand(tuple(shape), generator=g) for g in rows]) * (high - low) + low


def complex_normal(shape: Sequence[int], rows: Sequence[torch.Generator]) -> Tensor:
    """Draw circularly symmetric complex Gaussian numbers of unit variance, shape (rows, *shape), complex64."""
    return torch.stack([torch.randn(tuple(shape), dtype=torch.complex64, generator=g) for g in rows])


def integers(low: int, high: int, shape: Sequence[int], rows: Sequence[torch.Generator]) -> Tensor:
    """Draw integers in [low, high), shape (rows, *shape), int64."""
    return torch.stack([torch.randint(low, high, tuple(shape), generator=g) for g in rows])
