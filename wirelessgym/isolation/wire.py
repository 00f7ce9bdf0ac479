"""What goes over the wire between a scoring process and an agent's: tensors, bytes and plain values in lists, tuples and dicts.

A message is the length of a header (8 bytes), the header (JSON) and then the bytes of its tensors in the order in which the
header names them. Reading a message runs no code of the sender's and takes no more memory than the reader allows.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from typing import Any

import torch
from torch import Tensor

from wirelessgym.fields import storage

HEADER_LIMIT = 4 * 2**20
NO_LIMIT = 2**62
_INTEGERS = ("bool", "uint8", "int8", "int16", "int32", "int64")
_FLOATS = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in (*_INTEGERS, *_FLOATS)}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class WireError(ValueError):
    """Bytes that are no message, or a message that is too large."""


def send(to: socket.socket, message: Any, timeout_s: float | None = None) -> None:
    """Send a message.

    Raises:
        TypeError: for what can't be sent; nothing is sent then.
        TimeoutError: if the other side doesn't take it in time.
        OSError: if the other side is gone.
    """
    payloads: list[memoryview] = []
    header = json.dumps(_described(message, payloads)).encode()
    to.settimeout(timeout_s)
    to.sendall(struct.pack("<Q", len(header)) + header)
    for payload in payloads:
        to.sendall(payload)


def receive(source: socket.socket, limit: int = NO_LIMIT, timeout_s: float | None = None) -> Any:
    """Return the next message.

    Args:
        source: where it comes from.
        limit: bytes that its tensors may have together.
        timeout_s: seconds until all of it has to be here, None to wait for ever.

    Raises:
        WireError: for what is no message, or has more bytes.
        TimeoutError: if it doesn't come in time.
        EOFError: if the other side is gone.
        OSError: likewise.
    """
    reader = _Reader(source, limit, None if timeout_s is None else time.monotonic() + timeout_s)
    (length,) = struct.unpack("<Q", reader.read(8))
    if length > HEADER_LIMIT:
        raise WireError(f"a header of {length} bytes, more than {HEADER_LIMIT}")
    try:
        header = json.loads(reader.read(length))
        return reader.built(header)
    except (LookupError, OverflowError, RuntimeError, TypeError, ValueError) as error:  # whatever a wrong header leads to
        if isinstance(error, WireError):
            raise
        raise WireError(f"no message: {type(error).__name__}: {error}"[:200]) from error


def _described(value: Any, payloads: list[memoryview]) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            plain, order = _in_memory_order(dense(value))
            payloads.append(_bytes_of(plain))
            return {"tensor": [_NAMES[plain.dtype], list(plain.shape), order, value.is_conj()]}
        case bytes():
            payloads.append(memoryview(value))
            return {"bytes": len(value)}
        case tuple() | list():
            return {type(value).__name__: [_described(entry, payloads) for entry in value]}
        case dict() if all(isinstance(key, str) for key in value):
            return {"dict": {key: _described(entry, payloads) for key, entry in value.items()}}
    raise TypeError(f"expected tensors, numbers and text, got {type(value).__name__}")


def dense(value: Tensor) -> Tensor:
    """Return a tensor as plain numbers in memory: on the CPU, without gradients, of no subclass.

    Raises:
        TypeError: for a tensor that isn't its numbers in memory (sparse, nested, meta, quantised), or of an uncommon dtype.
    """
    if kind := storage(value):
        raise TypeError(f"expected a dense tensor, got a {kind} one")
    if value.dtype not in _NAMES:
        raise TypeError(f"expected a tensor of {', '.join(DTYPES)}, got {str(value.dtype).removeprefix('torch.')}")
    return value.detach().as_subclass(Tensor).resolve_neg().cpu()


def _in_memory_order(value: Tensor) -> tuple[Tensor, list[int]]:
    """A tensor with its axes from slowest to fastest, and their order: layout decides how torch rounds, so it goes along."""
    strides = value.stride()
    order = sorted(range(value.ndim), key=lambda axis: -strides[axis])
    return (value.conj() if value.is_conj() else value).permute(order).contiguous(), order


def _bytes_of(value: Tensor) -> memoryview:
    # An axis of one keeps whatever stride it had, and is contiguous all the same.
    array: Any = value.as_strided((value.numel(),), (1,)).view(torch.uint8).numpy()
    return memoryview(array)


class _Reader:
    """Reads a message from a socket, within a number of bytes and until a moment."""

    def __init__(self, source: socket.socket, limit: int, until: float | None) -> None:
        self._source, self._left, self._until = source, limit, until

    def read(self, count: int) -> bytes:
        into = bytearray(count)
        self._fill(memoryview(into))
        return bytes(into)

    def built(self, described: Any) -> Any:
        if not isinstance(described, dict):
            if isinstance(described, list):
                raise WireError("a list without its kind")
            return described
        ((kind, content),) = described.items()
        match kind:
            case "tensor":
                name, shape, order, conjugate = content
                inverse = sorted(range(len(shape)), key=order.__getitem__)
                value = self._tensor(DTYPES[name], shape).permute(inverse)
                return value.conj() if conjugate is True else value
            case "bytes":
                self._claim(int(content))
                return self.read(int(content))
            case "list":
                return [self.built(entry) for entry in content]
            case "tuple":
                return tuple(self.built(entry) for entry in content)
            case "dict":
                return {str(key): self.built(entry) for key, entry in content.items()}
        raise WireError(f"an entry of kind {kind!r}")

    def _tensor(self, dtype: torch.dtype, shape: list[int]) -> Tensor:
        if not all(type(size) is int and size >= 0 for size in shape):
            raise WireError(f"a tensor of shape {shape}")
        self._claim(math.prod(shape) * dtype.itemsize)
        if dtype == torch.bool:  # a byte of a bool is 0 or 1, whatever came
            return self._tensor(torch.uint8, shape) != 0
        value = torch.empty(shape, dtype=dtype)
        self._fill(_bytes_of(value))
        return value

    def _claim(self, count: int) -> None:
        if not 0 <= count <= self._left:
            raise WireError(f"{count} bytes, where at most {self._left} are expected")
        self._left -= count

    def _fill(self, into: memoryview) -> None:
        while into:
            if self._until is not None:
                left = self._until - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._source.settimeout(left)
            count = self._source.recv_into(into)
            if not count:
                raise EOFError
            into = into[count:]
