"""Detection on i.i.d. Rayleigh channels, without the task's own channels: observations, and errors of what is detected."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wirelessgym.modulation import constellation, nearest
from wirelessgym.registry import make_task
from wirelessgym.task import Task


def detection(modulation: str = "16qam", llrs: bool = False) -> Task:
    """The detection task; only its constellation and action fields are read."""
    return make_task("detection", scenario="rayleigh-32", modulation=modulation, llrs=llrs)


def episodes(
    batch: int, users: int, antennas: int, snr_db: float, modulation: str = "16qam", slots: int = 4, seed: int = 1
) -> tuple[dict[str, Tensor], Tensor]:
    """Observations on i.i.d. Rayleigh channels, and the points that were sent."""
    generator = torch.Generator().manual_seed(seed)
    points = constellation(modulation)
    csi = torch.randn(batch, antennas, users, dtype=torch.complex64, generator=generator)
    sent = torch.randint(len(points), (batch, slots, users), generator=generator)
    noise_power = users * 10 ** (-snr_db / 10)
    noise = torch.randn(batch, slots, antennas, dtype=torch.complex64, generator=generator) * math.sqrt(noise_power)
    obs = {"received": points[sent] @ csi.mT + noise, "csi": csi, "noise_power": torch.full((batch,), noise_power)}
    return obs, sent


def nmse(symbols: Tensor, sent: Tensor, modulation: str = "16qam") -> float:
    wanted = constellation(modulation)[sent]
    return ((symbols - wanted).abs().square().sum() / wanted.abs().square().sum()).item()


def errors(symbols: Tensor, sent: Tensor, modulation: str = "16qam") -> float:
    return (nearest(symbols, constellation(modulation)) != sent).float().mean().item()
