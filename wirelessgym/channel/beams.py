"""A panel that sends through one beam: its channel is that of a single antenna, and costs no more."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from wirelessgym.channel.rays import Rays
from wirelessgym.channel.synthesis import Grid


def through_strongest_beam(rays: Rays, grid: Grid) -> tuple[Rays, Tensor]:
    """Put a base station's panel behind the beam that receives most power on average over time and frequency.

    The beams are the columns and rows of a discrete Fourier transform on each polarisation, of unit energy; where antennas fade
    independently, they are the antennas. With elements about the panel's centre, a beam's response to a ray is real: the product
    of a Dirichlet kernel over columns and one over rows.

    Args:
        rays: as sampled.
        grid: of their channel.

    Returns:
        Rays of the channel with one port (for a grid of one column and one row), and its mean power, summed over a user's
        antennas, shape (batch, users), float32.
    """
    across = _kernel(rays.horizontal.flatten(-2), grid.columns)
    down = _kernel(rays.vertical.flatten(-2), grid.rows)
    energy = rays.gain.abs().square().sum(2).flatten(-2)  # (batch, users, ports, rays)
    beams = across[:, :, None, :, None] * down[:, :, None, None]
    power = (energy[:, :, :, None, None] * beams.square()).sum(-1)  # (batch, users, ports, columns, rows)
    best = power.flatten(2).argmax(-1)
    beam = best % (grid.columns * grid.rows)
    response = beams.flatten(3, 4)[:, :, 0].take_along_dim(beam[..., None, None], 2).view_as(rays.horizontal)
    port = (best // (grid.columns * grid.rows))[:, :, None, None, None, None]
    gain = rays.gain.take_along_dim(port, 3) * response[:, :, None, None]
    still = torch.zeros_like(rays.horizontal)
    received = replace(rays, gain=gain, horizontal=still, vertical=still)
    return received, power.flatten(2).amax(-1)


def _kernel(cycles: Tensor, size: int) -> Tensor:
    """Response of each of ``size`` beams to rays of a phase advance from element to element, shape (..., size, rays), float32.

    ``sum_n e^{j 2 pi (cycles - k / size) (n - (size - 1) / 2)} / sqrt(size)``.
    """
    turn = cycles[..., None, :] - torch.arange(size, device=cycles.device)[:, None] / size
    nearest = turn.round()
    rest = math.pi * (turn - nearest)
    small = rest.abs() < 1e-4
    ratio = torch.where(small, torch.full_like(rest, size), (size * rest).sin() / torch.where(small, 1.0, rest.sin()))
    # A whole turn changes the sign of an even number of elements about the centre.
    sign = 1 - 2 * (nearest * (size - 1)).remainder(2)
    return ratio * sign / math.sqrt(size)
