"""Entries of batched observations at Gymnasium's door: arrays with the batch as first axis, and texts as tuples of strings."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Entry: TypeAlias = Any  # an array or a tuple of strings
Obs: TypeAlias = dict[str, Entry]


def one(obs: Obs, row: int) -> Obs:
    """Return the observation of one row, without batch axis: arrays on the same memory, also where they hold one number."""
    return {key: value[row] if isinstance(value, tuple) else value[row, ...] for key, value in obs.items()}


def replaced(obs: Obs, rows: Array, new: Obs) -> Obs:
    """Return a copy in which the rows that ``rows`` (int64) names are those of ``new``, in order."""
    return {key: _put(obs[key], rows, value) for key, value in new.items()}


def _put(values: Entry, rows: Array, new: Entry) -> Entry:
    if isinstance(values, tuple):
        texts = dict(zip(rows.tolist(), new, strict=True))
        return tuple(texts.get(row, text) for row, text in enumerate(values))
    values = values.copy()
    values[rows] = new
    return values
