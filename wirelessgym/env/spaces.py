"""Fields as Gymnasium spaces, and batches of entries to and from numpy.

| dtype of the field | observation | action |
|---|---|---|
| complex64 | ``Box`` float32 with a trailing (re, im) axis | the same |
| float32 | ``Box`` float32 | the same |
| int64 | ``Box`` int64 | ``Discrete`` for shape (), ``MultiDiscrete`` otherwise |
| bool | ``Box`` int8 of zeros and ones | ``MultiBinary`` |
| text | ``Text`` of the field's length, of printable ASCII (`wirelessgym.fields.CHARACTERS`) | the same |

A batch of texts is a tuple of strings, as in Gymnasium's own vector environments; its space is a ``Tuple`` of ``Text``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields as entries
from typing import Any, TypeAlias

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from wirelessgym.fields import CHARACTERS, Action, Field, Obs, Rows, to_complex, to_real

Array: TypeAlias = np.ndarray[Any, Any]
Space: TypeAlias = gymnasium.Space[Any]


COPIED_BYTES = 2**16  # entries up to here are copied at once: looking whose memory they share takes longer


def observation_space(fields: Sequence[Field]) -> spaces.Dict:
    """Return the space of one observation: a ``Dict`` with one entry for each field, in their order."""
    return spaces.Dict({field.name: _text(field) if field.dtype == "text" else _box(field) for field in fields})


def action_space(fields: Sequence[Field]) -> Space:
    """Return the space of one action: that of the only field, or a ``Dict`` of several."""
    if len(fields) == 1:
        return _action_entry(fields[0])
    return spaces.Dict({field.name: _action_entry(field) for field in fields})


def obs_to_numpy(obs: Obs, state: Rows, *, apart: bool = False) -> dict[str, Any]:
    """Return a batch of observations as arrays, and texts as they are.

    Small entries are copied, large ones share ``obs``'s memory unless that is ``state``'s: what a caller does to an observation
    must not reach the episode.

    Args:
        obs: the observations.
        state: the state that they belong to.
        apart: whether large entries are copied in any case.
    """
    taken: set[int] | None = None
    shown: dict[str, Any] = {}
    for key, value in obs.items():
        if isinstance(value, Tensor):
            array = as_numpy(value)
            if not apart and array.nbytes > COPIED_BYTES:
                taken = _storages(state) if taken is None else taken
                shown[key] = array.copy() if value.untyped_storage().data_ptr() in taken else array
            else:
                shown[key] = array.copy()
        else:
            shown[key] = value
    return shown


def as_numpy(value: Tensor) -> Array:
    """Return a tensor as an array on the same memory: complex as float32 (re, im), bool as int8."""
    value = value.view(torch.int8) if value.dtype == torch.bool else to_real(value)
    array: Array = value.numpy()
    return array


def action_to_torch(action: object, fields: Sequence[Field]) -> Action:
    """Return a batch of actions from Gymnasium's door as the task wants it; the task checks shapes and values.

    Args:
        action: an array, batch axis first, or for several fields a mapping of arrays.
        fields: the task's action fields.

    Raises:
        TypeError: if several fields are wanted and ``action`` is no mapping, or an entry is no array of numbers.
        ValueError: if an entry is missing, or a complex one doesn't end in (re, im).
    """
    if len(fields) == 1:
        return _entry(action, fields[0])
    if not isinstance(action, Mapping):
        raise TypeError(f"action: expected a dict with {[f.name for f in fields]}, got {type(action).__name__}")
    if missing := [f.name for f in fields if f.name not in action]:
        raise ValueError(f"action: missing {missing}, got {sorted(action)}")
    return {field.name: _entry(action[field.name], field) for field in fields}


def _entry(value: object, field: Field) -> Any:
    if field.dtype == "text":
        return tuple(value.tolist()) if isinstance(value, np.ndarray) else value  # the task checks that they are strings
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{field.name}: expected an array of numbers, got {array.dtype}")
    if not array.flags.carray:  # torch takes neither read-only memory nor negative strides
        array = np.require(array, requirements=["C", "W"])
    tensor = torch.from_numpy(array)
    return tensor.bool() if field.dtype == "bool" else to_complex(tensor, field)


def _box(field: Field) -> spaces.Box:
    kind: Any = {"int64": np.int64, "bool": np.int8}.get(field.dtype, np.float32)
    low, high = (0, 1) if field.dtype == "bool" else (field.low, field.high)
    shape = (*field.shape, 2) if field.dtype == "complex64" else field.shape
    return spaces.Box(kind(low), kind(high), shape, kind)


def _text(field: Field) -> spaces.Text:
    return spaces.Text(int(field.high), min_length=int(field.low), charset=CHARACTERS)


def _action_entry(field: Field) -> Space:
    if field.dtype == "text":
        return _text(field)
    if field.dtype == "bool":
        return spaces.MultiBinary(field.shape) if field.shape else spaces.Discrete(2)
    if field.dtype == "int64":
        low, count = int(field.low), int(field.high) - int(field.low) + 1
        if not field.shape:
            return spaces.Discrete(count, start=low)
        return spaces.MultiDiscrete(np.full(field.shape, count), start=np.full(field.shape, low))
    return _box(field)


def _storages(rows: Rows) -> set[int]:
    """Addresses of the memory blocks behind every tensor of ``rows``."""
    found: set[int] = set()
    for entry in entries(rows):  # type: ignore[arg-type]
        value = getattr(rows, entry.name)
        if isinstance(value, Rows):
            found |= _storages(value)
        elif isinstance(value, Tensor):
            found.add(value.untyped_storage().data_ptr())
    return found
