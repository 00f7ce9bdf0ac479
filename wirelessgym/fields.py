"""Fields: name, shape, dtype, unit and bounds of every entry that an agent sees or returns.

Inside wirelessgym complex numbers stay complex. Gymnasium's ``Box`` refuses them, so at its door every complex entry becomes
float32 with a trailing axis of two, (re, im): `to_real` and `to_complex` are the only place where that happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, Literal, TypeAlias, TypeGuard, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from wirelessgym.modulation import constellation

Obs: TypeAlias = dict[str, Any]  # tensors, batch axis first; text entries are tuples of strings, one for each row
Action: TypeAlias = Tensor | dict[str, Tensor]
DTypeName: TypeAlias = Literal["complex64", "float32", "int64", "bool", "text"]
Tree = TypeVar("Tree")  # a tensor, a text, or a dict or `Rows` of them


CHARACTERS = "".join(map(chr, range(32, 127)))  # what a text may hold: printable ASCII, from the space to the tilde


@dataclass(frozen=True)
class Field:
    """One observation or action entry.

    Attributes:
        name: key of the entry.
        shape: shape of one sample, without the batch axis; complex entries without the (re, im) axis; () for text.
        dtype: dtype inside wirelessgym; ``"text"`` for a tuple of strings, one for each row, of characters of `CHARACTERS`.
        unit: SI unit, or ``"1"``.
        low: smallest value; for complex entries, of the real and of the imaginary part; for text, fewest characters.
        high: largest value, likewise; for text, most characters.
        meaning: one line for people.
        per_subcarrier: whether the first axis of ``shape`` counts subcarriers, which are parallel channels.
        shared: whether the value is one budget for all of them.
        modulation: where samples are points of a constellation, its name in `wirelessgym.modulation`. Other values are valid.
        budget: where a sample's entries share an energy, such as a transmit power, name of the observation entry, of shape (),
            that holds it.
        like: where samples are as strong as an observation entry, in the root of the mean square, that entry's name.
        spread: where samples of a bounded real entry are normal nevertheless, their standard deviation.

    Raises:
        ValueError: for a text with a shape, or without a finite number of characters.
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
    modulation: str | None = None
    budget: str | None = None
    like: str | None = None
    spread: float | None = None

    def __post_init__(self) -> None:
        if self.dtype == "text" and (self.shape != () or not 0 <= self.low <= self.high < math.inf):
            bounds = f"{self.low} to {self.high} characters"
            raise ValueError(f"{self.name}: expected a text of shape () with finite bounds, got shape {self.shape}, {bounds}")

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch names it.

        Raises:
            TypeError: for text, which has none.
        """
        if self.dtype == "text":
            raise TypeError(f"{self.name}: a text has no torch dtype")
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    @property
    def bytes_each(self) -> int:
        """Memory that one sample takes, at most."""
        return int(self.high) if self.dtype == "text" else math.prod(self.shape) * self.torch_dtype.itemsize

    @property
    def num_uniforms(self) -> int:
        """How many uniform numbers make one sample."""
        if self.dtype == "text":
            return 1 + self._longest_sample
        return math.prod(self.shape) * (2 if self.dtype == "complex64" and self.modulation is None else 1)

    def sample(self, batch: int, generator: torch.Generator) -> Any:
        """Return random values, shape (batch, *shape); see `from_uniform`."""
        return self.from_uniform(torch.rand(batch, self.num_uniforms, generator=generator))

    def from_uniform(self, uniform: Tensor) -> Any:
        """Turn uniform numbers into values.

        They are points of the `modulation` where there is one; uniform where an entry counts, or is bounded on both sides and has
        no `spread`; normal otherwise. Texts get up to 16 characters more than they need. `budget` and `like` refer to an
        observation, so they are left to those who have one.

        Args:
            uniform: shape (batch, num_uniforms), float32, in [0, 1].

        Returns:
            Shape (batch, *shape); for text, a tuple of ``batch`` strings.
        """
        shape = (len(uniform), *self.shape)
        if self.dtype == "text":
            return tuple(self._sampled_text(row) for row in uniform.tolist())
        if self.modulation is not None:
            points = constellation(self.modulation).to(uniform.device)
            return points[_index(uniform, len(points))].view(shape)
        if self.dtype == "bool":
            return uniform.view(shape) < 0.5
        if self.dtype == "int64":
            return int(self.low) + _index(uniform, int(self.high) - int(self.low) + 1).view(shape)
        if self.dtype == "float32" and self.spread is None and math.isfinite(self.low) and math.isfinite(self.high):
            return self.low + (self.high - self.low) * uniform.view(shape)
        normal = torch.special.ndtri(uniform.clamp(2**-24, 1 - 2**-24))
        if self.dtype == "complex64":
            return torch.view_as_complex(normal.view(*shape, 2) * math.sqrt(0.5))
        return (self.spread or 1.0) * normal.view(shape)

    @property
    def _longest_sample(self) -> int:
        return min(int(self.high), int(self.low) + 16)

    def _sampled_text(self, uniform: list[float]) -> str:
        length, *places = uniform
        shortest = int(self.low)
        count = shortest + min(int(length * (self._longest_sample - shortest + 1)), self._longest_sample - shortest)
        return "".join(CHARACTERS[min(int(place * len(CHARACTERS)), len(CHARACTERS) - 1)] for place in places[:count])

    def check(self, value: object, batch: int) -> Any:
        """Return ``value`` as a tensor of shape (batch, *shape) and the field's dtype, or say what is wrong with it.

        Real input for a complex field and wider floats are converted; nothing else is guessed. A text comes back as a tuple of
        ``batch`` strings, and may come as any sequence of them.

        Raises:
            TypeError: if ``value`` is no array, or its kind of number doesn't fit.
            ValueError: if the shape differs, or an entry is NaN or infinite (the message names the first such row).
        """
        if self.dtype == "text":
            return self._check_text(value, batch)
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biufc":
                raise TypeError(f"{self.name}: expected dtype {self.dtype}, got {value.dtype}")
            value = torch.from_numpy(np.ascontiguousarray(value))
        if not isinstance(value, Tensor):
            raise TypeError(f"{self.name}: expected a tensor of shape {(batch, *self.shape)}, got {type(value).__name__}")
        if kind := storage(value):
            raise TypeError(f"{self.name}: expected a dense tensor, got a {kind} one")
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

    def _check_text(self, value: object, batch: int) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
            raise TypeError(f"{self.name}: expected a tuple of {batch} strings, got {type(value).__name__}")
        if len(value) != batch:
            raise ValueError(f"{self.name}: expected {batch} strings, one for each row, got {len(value)}")
        low, high = int(self.low), int(self.high)
        for row, text in enumerate(value):
            if not isinstance(text, str):
                raise TypeError(f"{self.name}: row {row}: expected a string, got {type(text).__name__}")
            if strange := sorted(set(text) - _ALLOWED):
                raise ValueError(f"{self.name}: row {row} holds {strange[0]!r}, expected printable ASCII")
            if not low <= len(text) <= high:
                raise ValueError(f"{self.name}: row {row}: expected {low} to {high} characters, got {len(text)}")
        return tuple(map(str, value))


_ALLOWED = frozenset(CHARACTERS)


def _index(uniform: Tensor, count: int) -> Tensor:
    """Cut [0, 1] into equal parts and return the number of each entry's, int64."""
    return (uniform.double() * count).long().clamp_max(count - 1)


def storage(value: Tensor) -> str:
    """Say how a tensor is stored if it isn't simply its numbers in memory (nested, meta, quantised, sparse); empty if it is."""
    if value.is_nested:
        return "nested"
    if value.is_meta:
        return "meta"
    if value.is_quantized:
        return "quantised"
    return "" if value.layout == torch.strided else "sparse"


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
    """Marks a dataclass whose entries share the batch as first axis: tensors, text (tuples of strings), further `Rows`."""


def take(tree: Tree, index: Tensor | slice | Sequence[int]) -> Tree:
    """Return the rows that ``index`` (int64, bool, a slice or numbers) names, of a tensor, a text, a dict or a `Rows`.

    Entries that are none of these have no rows and stay as they are; so it is in all functions that follow.
    """
    if not isinstance(index, slice | Tensor):
        index = torch.tensor(list(index), dtype=torch.int64)
    chosen = index if isinstance(index, slice) else _numbers(index)

    def chosen_text(text: tuple[str, ...]) -> tuple[str, ...]:
        return text[chosen] if isinstance(chosen, slice) else tuple(text[i] for i in chosen)

    return _mapped(lambda x: x[index], chosen_text, tree)


def put(tree: Tree, index: Tensor, other: Tree) -> Tree:
    """Return a copy of ``tree`` in which the rows named by ``index`` (int64) are those of ``other``, in order."""

    def put_text(text: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
        rows = list(text)
        for i, value in zip(index.tolist(), new, strict=True):
            rows[i] = value
        return tuple(rows)

    return _mapped(lambda x, new: x.index_copy(0, index, new), put_text, tree, other)


def to(tree: Tree, device: torch.device | str) -> Tree:
    """Return ``tree`` with its tensors on ``device``."""
    return _mapped(lambda x: x.to(device), lambda text: text, tree)


def clone(tree: Tree) -> Tree:
    """Return a copy of ``tree`` that shares no tensor's memory with it."""
    return _mapped(Tensor.clone, lambda text: text, tree)


def concatenate(trees: Sequence[Tree]) -> Tree:
    """Join the rows of several trees of one structure."""
    return _mapped(lambda *x: torch.cat(x), lambda *texts: tuple(chain.from_iterable(texts)), *trees)


def num_rows(tree: Any) -> int:
    """Return the length of the batch axis.

    Raises:
        ValueError: for a tree without a tensor or a text.
    """
    for leaf in leaves(tree):
        return len(leaf)
    raise ValueError(f"expected something with rows, got {type(tree).__name__}")


def equal(one: Any, other: Any) -> bool:
    """Whether two trees hold the same entries, bit for bit; NaN equals NaN."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and _equal_tensors(one, other)
    mine, theirs = _entries(one), _entries(other)
    if not mine:
        return bool(one == other)
    return mine.keys() == theirs.keys() and all(equal(value, theirs[key]) for key, value in mine.items())


def _equal_tensors(one: Tensor, other: Tensor) -> bool:
    if torch.equal(one, other):
        return True
    missing = one.isnan()
    return torch.equal(missing, other.isnan()) and torch.equal(one.masked_fill(missing, 0), other.masked_fill(missing, 0))


def leaves(tree: Any) -> Iterator[Tensor | tuple[str, ...]]:
    """Yield every tensor and text of a tree, in a fixed order."""
    if isinstance(tree, Tensor) or _is_text(tree):
        yield tree
    for entry in _entries(tree).values():
        yield from leaves(entry)


def _mapped(tensors: Callable[..., Any], texts: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply a function to every tensor and another to every text, together with those at the same place in ``others``."""
    result: Any = tree
    if isinstance(tree, Tensor):
        result = tensors(tree, *others)
    elif _is_text(tree):
        result = texts(tree, *others)
    elif mine := _entries(tree):
        theirs = [_entries(other) for other in others]
        new = {key: _mapped(tensors, texts, value, *(other[key] for other in theirs)) for key, value in mine.items()}
        result = new if isinstance(tree, dict) else replace(tree, **new)  # type: ignore[type-var]
    return cast(Tree, result)


def _entries(tree: Any) -> Mapping[str, Any]:
    if isinstance(tree, dict):
        return tree
    return {f.name: getattr(tree, f.name) for f in fields(tree)} if isinstance(tree, Rows) else {}  # type: ignore[arg-type]


def _is_text(value: Any) -> TypeGuard[tuple[str, ...]]:
    return isinstance(value, tuple) and bool(value) and all(isinstance(entry, str) for entry in value)


def _numbers(index: Tensor) -> list[int]:
    """Row numbers of an int64 or bool index."""
    found: list[int] = (index.nonzero()[:, 0] if index.dtype == torch.bool else index).tolist()
    return found
