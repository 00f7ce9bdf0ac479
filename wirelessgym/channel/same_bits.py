"""Elementwise functions whose last bit doesn't depend on where an element stands in its tensor.

On a CPU torch runs most of a tensor through vector instructions and the last few elements through scalar ones. For a few functions
(pow, atan2) the two differ in the last bit, so a row's value would depend on how many rows are drawn with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_POSITION_DEPENDENT = {torch.pow, Tensor.pow, Tensor.__pow__, Tensor.__rpow__, torch.atan2, Tensor.atan2, torch.angle}
_VECTOR = 64  # no fewer elements than any vector loop takes at once


class SameBits(TorchFunctionMode):
    """Within this context the position-dependent functions work on whole vectors only, by padding."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Pad the tensors of a position-dependent function; call any other as it is."""
        if func in _POSITION_DEPENDENT and not kwargs:
            return _padded(func, args)
        return func(*args, **(kwargs or {}))


def _padded(func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    tensors = torch.broadcast_tensors(*(a for a in args if isinstance(a, Tensor)))
    size = tensors[0].numel()
    # Threads take equal shares, so each share must be whole vectors too.
    unit = _VECTOR * torch.get_num_threads()
    padding = -size % unit
    flat = iter([torch.nn.functional.pad(t.reshape(-1), (0, padding), value=1.0) for t in tensors])
    result = func(*(next(flat) if isinstance(a, Tensor) else a for a in args))
    return result[:size].view(tensors[0].shape)
