"""Elementwise functions whose last bit doesn't depend on where an element stands in its tensor.

On a CPU torch runs most of a tensor through vector instructions and the last few elements through scalar ones. For a few
functions (pow, atan2) the two differ in the last bit, so a row's value would depend on how many rows are drawn with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_VECTOR = 64  # no fewer elements than any vector loop takes at once


class SameBitsTorch:
    """Stands in for the module ``torch``: ``pow`` and ``atan2`` work on whole vectors only, by padding; the rest is torch's.

    ``matmul`` takes another routine for a batch of one than for several, so that goes as a batch of two.
    """

    def __getattr__(self, name: str) -> Any:
        value = vars(self)[name] = getattr(torch, name)  # asked once: a drop looks up some seven hundred names
        return value

    @staticmethod
    def pow(base: Any, exponent: Any) -> Tensor:
        """``torch.pow``."""
        return _padded(torch.pow, base, exponent)

    @staticmethod
    def atan2(y: Tensor, x: Tensor) -> Tensor:
        """``torch.atan2``."""
        return _padded(torch.atan2, y, x)

    @staticmethod
    def matmul(a: Tensor, b: Tensor) -> Tensor:
        """``torch.matmul``."""
        if a.ndim < 3 or a.shape[:-2] != b.shape[:-2] or a.shape[:-2].numel() > 1:
            return torch.matmul(a, b)
        return torch.matmul(torch.cat([a, a]), torch.cat([b, b]))[:1]


def _padded(function: Callable[..., Tensor], *args: Any) -> Tensor:
    tensors = torch.broadcast_tensors(*(a for a in args if isinstance(a, Tensor)))
    size = tensors[0].numel()
    # Threads take equal shares, so each share must be whole vectors too.
    padding = -size % (_VECTOR * torch.get_num_threads())
    flat = iter([torch.nn.functional.pad(t.reshape(-1), (0, padding), value=1.0) for t in tensors])
    result = function(*(next(flat) if isinstance(a, Tensor) else a for a in args))
    return result[:size].view(tensors[0].shape)


same_bits_torch = SameBitsTorch()
