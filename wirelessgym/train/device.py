"""Device, precision and threads of a run; all are put back as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor


@contextmanager
def accelerator(precision: str) -> Iterator[Any]:
    """An ``accelerate.Accelerator`` on the GPU if there is one, otherwise on the processor.

    Args:
        precision: ``"no"`` or ``"bf16"``.

    Raises:
        ImportError: without accelerate.
        ValueError: if several processes were launched: a run is one process.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError as error:
        raise ImportError(f"training needs accelerate: pip install 'wirelessgym[train]' ({error})") from None
    # accelerate keeps its settings for the life of the process, and refuses others: forget ours, but nobody else's.
    ours = not AcceleratorState._shared_state
    try:
        made = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=precision)
        if made.num_processes > 1:
            raise ValueError(f"training runs in one process, {made.num_processes} were launched")
        yield made
    finally:
        if ours:
            AcceleratorState._reset_state(reset_partial_state=True)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def moved(thing: Any, device: torch.device) -> Any:
    """Return a tensor, or a dict or dataclass of tensors, on a device."""
    if isinstance(thing, Tensor):
        return thing.to(device)
    if isinstance(thing, dict):
        return {key: moved(value, device) for key, value in thing.items()}
    if is_dataclass(thing) and not isinstance(thing, type) and device.type != "cpu":
        return replace(thing, **{f.name: moved(getattr(thing, f.name), device) for f in fields(thing)})
    return thing
