"""Synthesis: rays to ``H(slot, antenna, subcarrier)`` by two small matrix products per link.

Sionna forms the response of every ray at every antenna and slot and sums them at every frequency. Here the rays of a group are
summed first (they share a delay), then the groups are summed over frequency; every sampled exponential is on a uniform grid and
made by doubling, from two sines and cosines per ray. Links are processed in chunks that stay in the processor's cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.channel.rays import Rays, sub_cluster_masks


@dataclass(frozen=True)
class Grid:
    """Where a channel is sampled.

    Attributes:
        columns: columns of the panel.
        rows: rows of the panel.
        num_subcarriers: subcarriers, centred on the carrier as in Sionna (the lower half first).
        subcarrier_spacing_hz: spacing.
        slot_s: time between slots.
    """

    columns: int
    rows: int
    num_subcarriers: int
    subcarrier_spacing_hz: float
    slot_s: float

    @property
    def first_subcarrier_hz(self) -> float:
        """Frequency of subcarrier 0 relative to the carrier."""
        return -(self.num_subcarriers // 2) * self.subcarrier_spacing_hz


def cis(cycles: Tensor) -> Tensor:
    """``e^{j 2 pi cycles}`` as complex64; the phase is reduced in the input's precision.

    Sine and cosine are some twenty times faster on a CPU than ``torch.exp`` of a complex tensor.
    """
    phase = (2 * math.pi * (cycles - cycles.round())).float()
    return torch.view_as_complex(torch.stack((phase.cos(), phase.sin()), -1))


def geometric(first: Tensor, ratio: Tensor, count: int) -> Tensor:
    """``first * ratio^k`` for k = 0 .. count - 1 along a new last axis, by doubling: errors grow with log2(count) only."""
    series = torch.empty(*first.shape, count, dtype=first.dtype, device=first.device)
    series[..., 0] = first
    filled = 1
    while filled < count:
        take = min(filled, count - filled)
        torch.mul(series[..., :take], ratio[..., None], out=series[..., filled : filled + take])
        filled += take
        ratio = times(ratio, ratio)
    return series


def times(a: Tensor, b: Tensor) -> Tensor:
    """Complex product from real ones: torch's own rounds differently at the end of a tensor, which would tie rows together."""
    return torch.complex(a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real)


@torch.no_grad()
def synthesise(rays: Rays, grid: Grid, start_slot: Tensor, num_slots: int) -> Tensor:
    """Return the channel of consecutive slots.

    Args:
        rays: rays of a batch of episodes.
        grid: antennas, subcarriers and slot length.
        start_slot: first slot of each row, shape (batch,), int64; may be negative.
        num_slots: number of slots.

    Returns:
        Shape (batch, users, num_slots, ports * columns * rows, subcarriers), complex64. A row's values don't depend on the others.
    """
    batch, users, ports, _, _ = rays.gain.shape
    antennas = ports * grid.columns * grid.rows
    h = torch.empty(
        batch * users, num_slots, antennas, grid.num_subcarriers, dtype=torch.complex64, device=rays.gain.device
    )
    links = Rays(*(x.flatten(0, 1) for x in (rays.gain, rays.horizontal, rays.vertical, rays.doppler_hz, rays.delay_s)))
    start_s = (start_slot.double() * grid.slot_s).repeat_interleave(users)
    masks = sub_cluster_masks(rays.gain.shape[-1]).to(h) if rays.num_split else None
    chunk = max(1, 64 // num_slots)
    for first in range(0, batch * users, chunk):
        part = slice(first, first + chunk)
        h[part] = _chunk(links.rows(part), grid, start_s[part], num_slots, masks)
    return h.unflatten(0, (batch, users))


def _chunk(links: Rays, grid: Grid, start_s: Tensor, num_slots: int, masks: Tensor | None) -> Tensor:
    count, ports, clusters, num_rays = links.gain.shape
    columns, rows = grid.columns, grid.rows

    def steer(cycles: Tensor, size: int) -> Tensor:  # elements lie symmetrically about the panel's centre
        return geometric(cis(cycles * (-(size - 1) / 2)), cis(cycles), size)

    across, down = steer(links.horizontal, columns), steer(links.vertical, rows)
    turn = cis(links.doppler_hz * start_s[:, None, None])
    moving = geometric(times(links.gain, turn[:, None]), cis(links.doppler_hz * grid.slot_s)[:, None].expand_as(links.gain), num_slots)
    left = moving.permute(0, 2, 4, 1, 3)  # (count, clusters, slots, ports, rays)
    if num_slots * ports * columns < columns * rows:  # cheaper to fold the columns into the left factor
        left = left.unsqueeze(-2) * across.transpose(-1, -2)[:, :, None, None]
        right = down
    else:
        left = left.unsqueeze(-2)
        right = (across.unsqueeze(-1) * down.unsqueeze(-2)).flatten(-2)
    left = left.reshape(count, clusters, -1, num_rays)
    split = 2 if masks is not None else 0
    groups = [_bmm(left[:, split:].flatten(0, 1), right[:, split:].flatten(0, 1)).reshape(count, clusters - split, -1)]
    if masks is not None:
        parts = (left[:, :2, None] * masks[:, None]).flatten(2, 3)
        groups.insert(0, _bmm(parts.flatten(0, 1), right[:, :2].flatten(0, 1)).reshape(count, 6, -1))
    response = torch.cat(groups, 1)
    delay = links.delay_s.double()
    tones = geometric(cis(-delay * grid.first_subcarrier_hz), cis(-delay * grid.subcarrier_spacing_hz), grid.num_subcarriers)
    return _bmm(response.transpose(1, 2), tones).view(count, num_slots, -1, grid.num_subcarriers)


def _bmm(left: Tensor, right: Tensor) -> Tensor:
    """Batched matrix product; a batch of one takes another routine with other last bits, so it goes as a batch of two."""
    if left.shape[0] == 1:
        return torch.bmm(left.expand(2, -1, -1), right.expand(2, -1, -1))[:1]
    return torch.bmm(left, right)
