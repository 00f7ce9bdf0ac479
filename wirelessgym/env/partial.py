"""What ``VectorEnv.reset`` is told: the seed of each row, and which rows it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wirelessgym.env.spaces import Array
from wirelessgym.options import whole_number


def row_seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """Return one seed for each row: s, s + 1, ... for an int, None for rows that go on with their next episode.

    Raises:
        ValueError: for a list of another length than ``num_envs``, or a seed outside [0, 2^63).
        TypeError: for a seed that is no integer.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str):
        seeds = [None if s is None else whole_number("seed", s) for s in seed]
    else:
        first = whole_number("seed", seed)
        seeds = [first + row for row in range(num_envs)]
    if len(seeds) != num_envs:
        raise ValueError(f"seed: expected one for each of {num_envs} rows, got {len(seeds)}")
    if wrong := [s for s in seeds if s is not None and not 0 <= s < 2**63]:
        raise ValueError(f"seed: expected integers in [0, 2^63), got {wrong[0]}")
    return seeds


def rows_to_reset(options: dict[str, Any] | None, num_envs: int) -> Array:
    """Return the numbers of the rows that ``options["reset_mask"]`` marks, int64; all rows without it.

    Raises:
        ValueError: for an unknown option, or a mask that is no bool array (num_envs,) with a True in it.
    """
    options = options or {}
    if unknown := sorted(set(options) - {"reset_mask"}):
        raise ValueError(f"options: unknown key {unknown[0]!r}, known: reset_mask")
    mask = options.get("reset_mask")
    if mask is None:
        return np.arange(num_envs)
    if not (isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (num_envs,) and mask.any()):
        got = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise ValueError(f"reset_mask: expected a bool array of shape ({num_envs},) with a True in it, got {got}")
    return np.flatnonzero(mask)
