"""Random numbers that belong to an episode: every row draws from its own generator, so no row sees its neighbours.

A generator is named by (seed, episode, purpose, slot) and keyed with a hash of that name, of which 127 bits count: among a
billion streams, in training and evaluation together, two are the same with a probability below 10^-20.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from wirelessgym.channel.mersenne import keyed_generators


def generators(seed: Tensor, episode: Tensor, purpose: str, slot: Tensor | None = None) -> list[torch.Generator]:
    """Return one generator per row.

    Args:
        seed: shape (batch,), int64.
        episode: shape (batch,), int64.
        purpose: what the numbers are for; different purposes are independent.
        slot: time slot or step that they belong to, shape (batch,), int64; None for what is drawn once, as in slot 0.
    """
    slots = [0] * len(seed) if slot is None else slot.tolist()
    names = zip(seed.tolist(), episode.tolist(), slots, strict=True)
    return keyed_generators(b"".join([_key(s, n, t, purpose) for s, n, t in names]))


def generator(seed: int, number: int, purpose: str) -> torch.Generator:
    """Return a single generator: that of episode ``number``, or of what else is counted, such as training steps."""
    return keyed_generators(_key(seed, number, 0, purpose))[0]


def _key(seed: int, number: int, slot: int, purpose: str) -> bytes:
    return hashlib.blake2b(struct.pack("<qqq", seed, number, slot) + purpose.encode(), digest_size=16).digest()


def uniform(shape: Sequence[int], rows: Sequence[torch.Generator], low: float = 0.0, high: float = 1.0) -> Tensor:
    """Draw float32 numbers in [low, high), shape (rows, *shape)."""
    return torch.stack([torch.rand(tuple(shape), generator=g) for g in rows]) * (high - low) + low


def complex_normal(shape: Sequence[int], rows: Sequence[torch.Generator]) -> Tensor:
    """Draw circularly symmetric complex Gaussian numbers of unit variance, shape (rows, *shape), complex64."""
    return torch.stack([torch.randn(tuple(shape), dtype=torch.complex64, generator=g) for g in rows])


def integers(low: int, high: int, shape: Sequence[int], rows: Sequence[torch.Generator]) -> Tensor:
    """Draw integers in [low, high), shape (rows, *shape), int64."""
    return torch.stack([torch.randint(low, high, tuple(shape), generator=g) for g in rows])
