"""Generators whose whole state is set from a key, because torch's own seed for the CPU keeps 32 bits of what it is given.

A Mersenne Twister has a state of 624 words. They are filled here with SplitMix64, whose start and odd step are the key: words 2
to 5 alone tell 127 of its 128 bits, so generators of different keys are in different states. No state is all zeros, since
SplitMix64 doesn't repeat itself.

Source: Matsumoto, Nishimura, "Mersenne Twister", ACM Trans. Model. Comput. Simul. 8(1), 1998; Steele, Lea, Flood, "Fast
splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint64]

WORDS = 624
_FIRST_WORD = 3  # of torch's state as 64-bit words: before it the seed, how many words are left, and where the next one stands
_STATE_BYTES = 5056
_ONE = np.uint64(1)
_COUNT = np.arange(1, WORDS // 2 + 1, dtype=np.uint64)
_FACTORS = np.array([0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)
_SHIFTS = np.array([30, 27, 31], np.uint64)
_ROWS = 64  # filled at a time: half a megabyte in all, which stays in the processor's cache


def keyed_generators(keys: bytes) -> list[torch.Generator]:
    """Return one CPU generator for every 16 bytes of ``keys``.

    Raises:
        RuntimeError: if this version of torch keeps its state in another layout.
    """
    pairs = np.frombuffer(keys, "<u8").reshape(-1, 2)
    return [g for first in range(0, len(pairs), _ROWS) for g in _with_states(pairs[first : first + _ROWS])]


def _with_states(pairs: Words) -> list[torch.Generator]:
    states = np.empty((len(pairs), _STATE_BYTES // 8), np.uint64)
    states[:] = _template()
    states[:, 0] = pairs[:, 0]  # what initial_seed() says
    states[:, _FIRST_WORD : _FIRST_WORD + WORDS] = splitmix64(pairs).astype("<u8", copy=False).view("<u4")
    # One tensor per row: of a tensor that is a part of another, set_state reads the wrong bytes (torch 2.13).
    return [torch.Generator().set_state(torch.from_numpy(state)) for state in states.view(np.uint8)]


def splitmix64(pairs: Words) -> Words:
    """Return the first 312 numbers of SplitMix64 for each start and step, shape (rows, 2) to (rows, 312); steps are made odd."""
    x = (pairs[:, 1:] | _ONE) * _COUNT
    x += pairs[:, :1]
    moved = x >> _SHIFTS[0]
    x ^= moved
    for factor, shift in zip(_FACTORS, _SHIFTS[1:], strict=True):
        x *= factor
        np.right_shift(x, shift, out=moved)
        x ^= moved
    return x


@cache
def _template() -> Words:
    """The state of a generator that was just seeded, as 64-bit words, once it is sure that the 624 lie where they should."""
    state: NDArray[Any] = torch.Generator().manual_seed(1).get_state().numpy()
    words = np.empty(WORDS, np.uint64)
    words[0] = 1
    for i in range(1, WORDS):  # Knuth's recurrence, by which a seed of 32 bits fills the state
        before = int(words[i - 1])
        words[i] = (1812433253 * (before ^ before >> 30) + i) % 2**32
    known = len(state) == _STATE_BYTES
    if not known or not np.array_equal(state.view(np.uint64)[_FIRST_WORD : _FIRST_WORD + WORDS], words):
        raise RuntimeError(
            f"torch {torch.__version__}: expected a CPU generator's state of {_STATE_BYTES} bytes, with the {WORDS} words of a "
            f"Mersenne Twister from byte {8 * _FIRST_WORD} on, got {len(state)} bytes{' of other content' if known else ''}"
        )
    return state.view(np.uint64)
