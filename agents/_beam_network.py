"""What learned priors read off a user's observed beams, and the residual network that reads it.

A channel's common phase says nothing about its shape: observations are turned such that their strongest beam is real and
positive, and what is estimated is turned back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEAST_POWER = 1e-2  # of a beam, in the logarithm that the network sees
LEAST_GAIN = 0.02  # of the Wiener gains that estimates start from; 1 less this is the largest


@dataclass(frozen=True)
class Turned:
    """Observed beams, turned by the phase of the strongest.

    Attributes:
        beams: shape (users, n), complex64.
        phase: what restores them, shape (users, 1), complex64, of absolute value 1.
        error: variance of the observation's error in each beam, shape (users, 1), float32, positive.
    """

    beams: Tensor
    phase: Tensor
    error: Tensor

    @classmethod
    def of(cls, observed: Tensor, error: Tensor) -> Turned:
        """Turn beams of shape (users, n) with errors of variance ``error``, shape (users,)."""
        strongest = observed.gather(-1, observed.abs().argmax(-1, keepdim=True))
        phase = torch.polar(torch.ones_like(strongest.real), strongest.angle())
        return cls(observed * phase.conj(), phase, error[:, None].clamp_min(torch.finfo(error.dtype).tiny))

    def features(self) -> Tensor:
        """What a network sees: real parts, imaginary parts, log-powers, and the error's logarithm; (users, 3 n + 1), float32."""
        power = self.beams.abs().square()
        return torch.cat([self.beams.real, self.beams.imag, (power + LEAST_POWER).log(), self.error.log()], -1)

    def wiener(self) -> Tensor:
        """Gain of each beam from its own observed power, ``max(1 - e / |b|^2, 0)``, within limits, shape (users, n), float32."""
        power = self.beams.abs().square().clamp_min(torch.finfo(self.error.dtype).tiny)
        return (1 - self.error / power).clamp(LEAST_GAIN, 1 - LEAST_GAIN)


class ResidualNetwork(nn.Module):
    """A linear map, residual blocks of two layers each, and a linear map that starts at zero.

    Source: blocks as in He, Zhang, Ren, Sun, "Identity mappings in deep residual networks", ECCV 2016, with layer normalisation.

    Args:
        inputs: features of a row.
        width: of the rows between blocks; twice as many within them.
        blocks: number of them.
        outputs: numbers per row.
    """

    def __init__(self, inputs: int, width: int, blocks: int, outputs: int) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(blocks)
        )
        self.output = nn.Linear(width, outputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map (rows, inputs) to (rows, outputs), float32."""
        x = self.input(features)
        for block in self.blocks:
            x = x + block(x)
        result: Tensor = self.output(x).float()
        return result
