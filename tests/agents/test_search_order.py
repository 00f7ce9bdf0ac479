"""Which users a tree search decides first: what is easily told goes first, and no longer disturbs what is not."""

from __future__ import annotations

import pytest
import torch
from rayleigh_detection import detection
from torch import Tensor

from wirelessgym import make_agent
from wirelessgym.modulation import constellation, nearest

WEAK = 0.15  # amplitude of the weak user


def near_and_far(weak: int, noise_power: float = 2e-3, batch: int = 300) -> tuple[dict[str, Tensor], Tensor]:
    """Two QPSK users on two antennas, one of them 16 dB weaker."""
    generator = torch.Generator().manual_seed(3)
    points = constellation("qpsk")
    csi = torch.randn(batch, 2, 2, dtype=torch.complex64, generator=generator)
    csi[..., weak] *= WEAK
    sent = torch.randint(4, (batch, 20, 2), generator=generator)
    noise = noise_power**0.5 * torch.randn(batch, 20, 2, dtype=torch.complex64, generator=generator)
    return {"received": points[sent] @ csi.mT + noise, "csi": csi, "noise_power": torch.full((batch,), noise_power)}, sent


@pytest.mark.parametrize("weak", [0, 1])
def test_a_weak_user_is_heard_once_the_strong_one_is_decided(weak: int) -> None:
    obs, sent = near_and_far(weak)

    def errors(name: str, **options: int) -> float:
        found = nearest(make_agent(name, **options).act(detection("qpsk"), obs), constellation("qpsk"))
        return (found != sent)[..., weak].float().mean().item()

    alone = obs | {"received": obs["received"] - (constellation("qpsk")[sent] * (torch.arange(2) != weak)) @ obs["csi"].mT}
    alone["csi"] = obs["csi"][..., [weak]]
    matched = nearest(make_agent("lmmse").act(detection("qpsk"), alone), constellation("qpsk"))
    floor = (matched[..., 0] != sent[..., weak]).float().mean().item()
    assert errors("list_mmse", list_size=1) < 0.5 * errors("lmmse")
    assert errors("list_mmse", list_size=1) < 1.5 * floor
