"""Layers that several heads share."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor


def mlp(*sizes: int) -> torch.nn.Sequential:
    """Linear layers of the given sizes with GELU between them."""
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [torch.nn.Linear(before, after), torch.nn.GELU()]
    return torch.nn.Sequential(*layers[:-1])


def silent(module: torch.nn.Sequential) -> torch.nn.Sequential:
    """Set the last layer to zero, so that training starts from what the outputs correct."""
    last = module[-1]
    torch.nn.init.zeros_(last.weight)  # type: ignore[arg-type]
    torch.nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return module


def parts(x: Tensor) -> Tensor:
    """Real and imaginary parts as features, shape (..., 2)."""
    return torch.view_as_real(x.resolve_conj())


def turned(x: Tensor, radians: Tensor) -> Tensor:
    """Turn complex ``x`` by an angle."""
    return x * torch.polar(torch.ones_like(radians), radians)
