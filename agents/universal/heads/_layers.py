"""Layers that several heads share."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from ..._floors import LEAST_NOISE as LEAST_NOISE
from ..._floors import TINY as TINY


def mlp(*sizes: int, bias: bool = True) -> torch.nn.Sequential:
    """Linear layers of the given sizes with GELU between them; ``bias`` says whether the last one has one."""
    *hidden, last = pairwise(sizes)
    layers: list[torch.nn.Module] = []
    for before, after in hidden:
        layers += [torch.nn.Linear(before, after), torch.nn.GELU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(*last, bias=bias))


def zero_init(module: torch.nn.Sequential) -> torch.nn.Sequential:
    """Set the last layer to zero, so that training starts from the solution that the outputs correct."""
    for parameter in module[-1].parameters():
        torch.nn.init.zeros_(parameter)
    return module


def parts(x: Tensor) -> Tensor:
    """Real and imaginary parts as features, shape (..., 2)."""
    return torch.view_as_real(x.resolve_conj())


def rotate_phase(x: Tensor, radians: Tensor) -> Tensor:
    """Rotate complex ``x`` by an angle."""
    return x * torch.polar(torch.ones_like(radians), radians)
