"""Fields: name, shape, dtype, unit and bounds of every entry that an agent sees or returns.

Inside wirelessgym complex numbers stay complex. Gymnasium's ``Box`` refuses them, so at its door every complex entry becomes
float32 with a trailing axis of two, (re, im): `to_real` and `to_complex` are the only place where that happens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

Obs: TypeAlias = dict[str, Tensor]
Action: TypeAlias = Tensor | dict[str, Tensor]
DTypeName: TypeAlias = Literal["complex64", "float32", "int64", "bool"]


@dataclass(frozen=True)
class Field:
    """One observation or action entry.

    Attributes:
        name: key of the entry.
        shape: shape of one sample, without the batch axis; complex entries without the (re, im) axis.
        dtype: dtype inside wirelessgym.
        unit: SI unit, or ``"1"``.
        low: smallest value; for complex entries, of the real and of the imaginary part.
        high: largest value, likewise.
        meaning: one line for people.
        per_subcarrier: whether the first axis of ``shape`` counts subcarriers, which are parallel channels.
        shared: whether the value is one budget for all of them.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DTypeName
    unit: str
    low: float
    high: float
    meaning: str
    per_subcarrier: bool = False
    shared: bool = False

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch names it."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw values, shape (batch, *shape): uniform where a real entry is bounded on both sides or counts, normal otherwise."""
        shape = (batch, *self.shape)
        if self.dtype == "bool":
            return torch.rand(shape, generator=generator) < 0.5
        if self.dtype == "int64":
            return torch.randint(int(self.low), int(self.high) + 1, shape, generator=generator)
        if self.dtype == "float32" and math.isfinite(self.low) and math.isfinite(self.high):
            return self.low + (self.high - self.low) * torch.rand(shape, generator=generator)
        return torch.randn(shape, generator=generator, dtype=self.torch_dtype)

    def check(self, value: object, batch: int) -> Tensor:
        """Return ``value`` as a tensor of shape (batch, *shape) and the field's dtype, or say what is wrong with it.

        Real input for a complex field and wider floats are converted; nothing else is guessed.

        Raises:
            TypeError: if ``value`` is no array, or its kind of number doesn't fit.
            ValueError: if the shape differs, or an entry is NaN or infinite (the message names the first such row).
        """
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biufc":
                raise TypeError(f"{self.name}: expected dtype {self.dtype}, got {value.dtype}")
            value = torch.from_numpy(np.ascontiguousarray(value))
        if not isinstance(value, Tensor):
            raise TypeError(f"{self.name}: expected a tensor of shape {(batch, *self.shape)}, got {type(value).__name__}")
        if tuple(value.shape) != (batch, *self.shape):
            raise ValueError(f"{self.name}: expected shape {(batch, *self.shape)} (batch first), got {tuple(value.shape)}")
        if value.dtype != self.torch_dtype:
            if not torch.can_cast(value.dtype, self.torch_dtype):
                raise TypeError(f"{self.name}: expected dtype {self.dtype}, got {str(value.dtype).removeprefix('torch.')}")
            value = value.to(self.torch_dtype)
        if not bool(value.isfinite().all()):
            row = int((~value.isfinite()).reshape(batch, -1).any(-1).nonzero()[0])
            raise ValueError(f"{self.name}: row {row} holds NaN or infinite entries, expected finite {self.dtype} numbers")
        return value


def to_real(value: Tensor) -> Tensor:
    """Return complex ``value`` as float32 with a trailing (re, im) axis; real values as they are."""
    return torch.view_as_real(value.resolve_conj()) if value.is_complex() else value


def to_complex(value: Tensor, field: Field) -> Tensor:
    """Undo `to_real` for a complex ``field``; other values pass.

    Raises:
        ValueError: if a complex field doesn't end in an axis of two.
    """
    if field.dtype != "complex64" or value.is_complex():
        return value
    if value.shape[-1:] != (2,):
        raise ValueError(f"{field.name}: expected a trailing (re, im) axis of 2, got shape {tuple(value.shape)}")
    return torch.view_as_complex(value.to(torch.float32).contiguous())


class Rows:
    """A dataclass of tensors (or of further `Rows`) whose first axis is the batch: rows can be taken and replaced."""

    def _entries(self) -> Mapping[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def rows(self, index: Tensor | slice) -> Self:
        """Return the rows that ``index`` (int64, bool or a slice) names."""
        return type(self)(
            **{
                k: v.rows(index) if isinstance(v, Rows) else v[index] if isinstance(v, Tensor) else v
                for k, v in self._entries().items()
            }
        )

    def with_rows(self, index: Tensor, other: Self) -> Self:
        """Return a copy in which the rows named by ``index`` (int64) are those of ``other``, in order."""

        def put(mine: Any, theirs: Any) -> Any:
            if isinstance(mine, Rows):
                return mine.with_rows(index, theirs)
            return mine.index_copy(0, index, theirs) if isinstance(mine, Tensor) else mine

        theirs = other._entries()
        return type(self)(**{k: put(v, theirs[k]) for k, v in self._entries().items()})
