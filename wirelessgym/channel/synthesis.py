"""Synthesis: rays to ``H(slot, rx, tx, subcarrier)`` by two small matrix products per link.

Sionna forms the response of every ray at every antenna and slot and sums them at every frequency. Here the rays of a group are
summed first (they share a delay), then the groups are summed over frequency; every sampled exponential is on a uniform grid and
made by doubling, from two sines and cosines per ray. Links are processed in chunks that stay in the processor's cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wirelessgym.channel.rays import Rays, sub_cluster_masks
from wirelessgym.fields import take


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
    return torch.complex(phase.cos(), phase.sin())


def flat(x: Tensor) -> Tensor:
    """Flatten the last three axes (links, groups, rays) and pad with zeros to whole vectors for every thread.

    Torch rounds complex products differently in the vector loop and in the remainder after it. Without a remainder no entry
    depends on its place, so no row on the rows beside it; and the loops over the long last axis are fast.
    """
    x = x.flatten(-3)
    return torch.nn.functional.pad(x, (0, -x.shape[-1] % (64 * torch.get_num_threads())))


def progression(first: Tensor, step: Tensor, count: int) -> Tensor:
    """``first * e^{j 2 pi step k}`` for k = 0 .. count - 1 along a new first axis; ``step`` is in cycles, and flattened here."""
    return geometric(first, flat(cis(step)), count) if count > 1 else first[None]


def geometric(first: Tensor, ratio: Tensor, count: int) -> Tensor:
    """``first * ratio^k`` for k = 0 .. count - 1 along a new first axis, by doubling: errors grow with log2(count) only."""
    series = torch.empty(count, *first.shape, dtype=first.dtype, device=first.device)
    series[0] = first
    filled = 1
    while filled < count:
        take = min(filled, count - filled)
        torch.mul(series[:take], ratio, out=series[filled : filled + take])
        filled += take
        if filled < count:
            ratio = ratio * ratio
    return series


@torch.no_grad()
def synthesise(rays: Rays, grid: Grid, start_s: Tensor, num_slots: int) -> Tensor:
    """Return the channel of consecutive slots.

    Args:
        rays: rays of a batch of episodes.
        grid: antennas, subcarriers and slot length.
        start_s: time of each row's first slot, shape (batch,), seconds; may be negative.
        num_slots: number of slots.

    Returns:
        Shape (batch, users, num_slots, rx, ports * columns * rows, subcarriers), complex64. No row depends on the others.
    """
    batch, users, rx, ports = rays.gain.shape[:4]
    samples = num_slots * rx * ports * grid.columns * grid.rows
    h = _empty((batch * users, samples, grid.num_subcarriers), rays.gain.device)
    gain = rays.gain.flatten(2, 3)  # a user's antennas differ in their gains only, as ports do
    links = Rays(*(x.flatten(0, 1) for x in (gain, rays.horizontal, rays.vertical, rays.doppler_hz, rays.delay_s)))
    if grid.num_subcarriers == 1:
        links = _without_delays(links)
    start_s = start_s.double().repeat_interleave(users)
    # Exponentials are cheapest for many links at once, products for as many as stay in the cache.
    for first in range(0, batch * users, _LINKS):
        part = slice(first, first + _LINKS)
        moving, across, down, tones = _exponentials(take(links, part), grid, start_s[part], num_slots)
        step = max(1, _SAMPLES // samples)
        for inner in range(0, len(h[part]), step):
            piece = slice(inner, inner + step)
            cut = (..., piece, slice(None), slice(None))
            _products(moving[cut], across[cut], down[cut], tones[cut], out=h[part][piece])
    return h.view(batch, users, num_slots, rx, -1, grid.num_subcarriers)


_LINKS = 32
_VECTOR = 16  # complex64 numbers that torch's vector loops take at once, at most: two registers of 512 bits
_SAMPLES = 10240  # of one subcarrier: four links of 20 slots on 128 antennas, some two megabytes


def _empty(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Memory for the result, complex64. numpy asks for huge pages; without them a third of the time goes into page faults."""
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape, np.complex64))
    return torch.empty(shape, dtype=torch.complex64, device=device)


def _without_delays(links: Rays) -> Rays:
    """Rays of a channel at the carrier alone, where delays don't matter: a link's are one group, which fills whole vectors."""
    missing = -links.horizontal[0].numel() % _VECTOR

    def joined(x: Tensor) -> Tensor:
        return torch.nn.functional.pad(x.flatten(-2), (0, missing))[..., None, :]

    gain, horizontal, vertical, doppler_hz = (joined(x) for x in (links.gain, links.horizontal, links.vertical, links.doppler_hz))
    return Rays(gain, horizontal, vertical, doppler_hz, torch.zeros_like(links.delay_s[:, :1]))


def _exponentials(links: Rays, grid: Grid, start_s: Tensor, num_slots: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return moving gains, column steering, row steering and tones.

    Shapes (slots, ports, links, groups, rays), (columns, links, groups, rays), (rows, links, groups, rays) and
    (subcarriers, links, groups, 1).
    """
    columns, rows = grid.columns, grid.rows
    horizontal, vertical, doppler_hz, gain = links.horizontal, links.vertical, links.doppler_hz, links.gain.movedim(1, 0)
    if links.num_split:
        group, masks = _sub_cluster_groups(gain.shape[-2], gain.shape[-1], gain.device)
        horizontal, vertical, doppler_hz = horizontal[:, group], vertical[:, group], doppler_hz[:, group]
        gain = gain[:, :, group] * masks
    horizontal, vertical, doppler_hz, gain = (_whole_vectors(x) for x in (horizontal, vertical, doppler_hz, gain))
    shape = horizontal.shape
    # Elements lie symmetrically about the panel's centre; the phase of the first joins that of the first slot.
    corner = horizontal.double() * ((columns - 1) / 2) + vertical.double() * ((rows - 1) / 2)
    turn = cis(doppler_hz * start_s[:, None, None] - corner)
    one = torch.ones_like(flat(turn))
    across = progression(one, horizontal, columns)
    down = progression(one, vertical, rows)
    moving = progression(flat(gain) * flat(turn), doppler_hz * grid.slot_s, num_slots)
    delay = torch.nn.functional.pad(links.delay_s, (0, shape[-2] - links.delay_s.shape[-1])).double()[..., None]
    first_tone = cis(-delay * grid.first_subcarrier_hz)
    tones = progression(flat(first_tone), -delay * grid.subcarrier_spacing_hz, grid.num_subcarriers)
    size = shape.numel()
    steering = (x[..., :size].unflatten(-1, shape) for x in (moving, across, down))
    moving, across, down = steering
    return moving, across, down, tones[..., : delay.numel()].unflatten(-1, delay.shape)


def _whole_vectors(x: Tensor) -> Tensor:
    """Add groups of zeros (next to last axis) until a link's rays fill whole vectors: products of any links have no remainder."""
    groups, rays = x.shape[-2:]
    missing = -groups % (_VECTOR // math.gcd(rays, _VECTOR))
    return torch.nn.functional.pad(x, (0, 0, 0, missing)) if missing else x


def _sub_cluster_groups(num_clusters: int, num_rays: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cluster of each group, and which of its rays belong to the group: the first two clusters count three times."""
    group = torch.cat([torch.tensor([0, 0, 0, 1, 1, 1]), torch.arange(2, num_clusters)])
    masks = torch.ones(len(group), num_rays)
    masks[:6] = sub_cluster_masks(num_rays).repeat(2, 1)
    return group.to(device), masks.to(device)


def _products(moving: Tensor, across: Tensor, down: Tensor, tones: Tensor, out: Tensor) -> None:
    """Sum rays into groups and groups into subcarriers: ``out`` (links, slots * antennas, subcarriers)."""
    slots, ports, count, groups, _ = moving.shape

    def matrices(x: Tensor) -> Tensor:  # (n, links, groups, rays) as one (n, rays) matrix per link and group, without a copy
        return x.flatten(-3, -2).movedim(-2, 0) if x.ndim == 4 else x

    if slots * ports < len(down):  # cheaper to fold the columns into the left factor than into the right one
        left, right = moving.unsqueeze(2) * across, down
    else:
        left, right = moving, across.unsqueeze(1) * down
    left, right = matrices(left.flatten(0, -4)), matrices(right.flatten(0, -4))
    response = _bmm(left, right.mT).view(count, groups, -1)
    tones = tones[..., 0].movedim(0, -1)
    if count == 1:
        out.copy_(_bmm(response.mT, tones))
    else:
        torch.bmm(response.mT, tones, out=out)


def _bmm(left: Tensor, right: Tensor) -> Tensor:
    """Batched matrix product; a batch of one takes another routine with other last bits, so it goes as a batch of two."""
    if left.shape[0] == 1:
        return torch.bmm(left.expand(2, -1, -1), right.expand(2, -1, -1))[:1]
    return torch.bmm(left, right)
