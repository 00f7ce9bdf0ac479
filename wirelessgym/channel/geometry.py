"""Antenna geometry: local directions and polarised element fields of the base station's panel and of users' panels.

Source: 3GPP TR 38.901 V19.2, sections 7.1 (coordinates), 7.3 (antennas) and 7.5 (coefficients). Users' panels stand upright and
look along the x axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.scenario import Panel

POLARISATION_SLANTS = {"single": (0.0,), "dual": (-math.pi / 4, math.pi / 4)}


Vector = tuple[Tensor, Tensor, Tensor]  # components x, y and z, apart: whole tensors are faster to work with than strided ones


def direction(zenith: Tensor, azimuth: Tensor) -> Vector:
    """Unit vector of angles in radian; eq. (7.1-6)."""
    across = zenith.sin()
    return across * azimuth.cos(), across * azimuth.sin(), zenith.cos()


def seen_from(orientation: Tensor, zenith: Tensor, azimuth: Tensor) -> tuple[Vector, Tensor, Tensor]:
    """How a turned panel sees directions.

    Args:
        orientation: bearing, downtilt, slant of the panel, radian, shape broadcastable to (*zenith.shape, 3).
        zenith: angles, radian, any shape.
        azimuth: likewise.

    Returns:
        Unit vectors along the panel's own axes, ``R^-1 d`` with R of eq. (7.1-4); cosine and sine of the angle between global and
        local field components, eq. (7.1-15), and an angle of 0 where both vanish.
    """
    bearing, tilt, slant = orientation.unbind(-1)
    turn = azimuth - bearing
    across, up = zenith.sin(), zenith.cos()
    ahead, aside = turn.cos(), turn.sin()
    flat_x, local_y = across * ahead, across * aside
    local_x = tilt.cos() * flat_x - tilt.sin() * up
    local_z = tilt.sin() * flat_x + tilt.cos() * up
    real = tilt.cos() * across - tilt.sin() * (up * ahead)
    imag = tilt.sin() * aside
    if slant.any():
        real, imag = (
            slant.sin() * (up * aside) + slant.cos() * real,
            slant.sin() * ahead + slant.cos() * imag,
        )
        local_y, local_z = (
            slant.cos() * local_y + slant.sin() * local_z,
            slant.cos() * local_z - slant.sin() * local_y,
        )
    square = real * real + imag * imag
    inverse = square.clamp_min(1e-30).rsqrt()
    return (local_x, local_y, local_z), torch.where(square < 1e-30, 1.0, real * inverse), imag * inverse


def element_amplitude(local: Vector, element: str) -> Tensor:
    """Field amplitude of one element towards a local unit vector; table 7.3-1 for ``"38.901"``, 1 for ``"omni"``."""
    x, y, z = local
    if element == "omni":
        return torch.ones_like(x)
    zenith_deg = torch.rad2deg(torch.acos(z.clamp(-1, 1)))
    # The pattern is even in azimuth, so its cosine is enough.
    azimuth_deg = torch.rad2deg(torch.acos((x * (x * x + y * y).clamp_min(1e-30).rsqrt()).clamp(-1, 1)))
    vertical_db = (12 * ((zenith_deg - 90) / 65).square()).clamp_max(30)
    horizontal_db = (12 * (azimuth_deg / 65).square()).clamp_max(30)
    gain_db = 8 - (vertical_db + horizontal_db).clamp_max(30)
    return torch.exp(gain_db * (math.log(10) / 20))


def panel_field(
    zenith: Tensor, azimuth: Tensor, orientation: Tensor, element: str, slants: tuple[float, ...]
) -> tuple[Tensor, Tensor, Vector]:
    """Field and local direction of a panel's elements.

    Args:
        zenith: departure angles, radian, any shape.
        azimuth: likewise.
        orientation: see `seen_from`.
        element: element pattern.
        slants: polarisation slant of each port, radian; eq. (7.3-4), (7.3-5).

    Returns:
        Zenith and azimuth field components in global coordinates, each (*zenith.shape, ports), and the local unit vector. Eq.
        (7.1-11).
    """
    local, cosine, sine = seen_from(orientation, zenith, azimuth)
    if element != "omni":
        amplitude = element_amplitude(local, element)
        cosine, sine = amplitude * cosine, amplitude * sine
    if slants == (0.0,):
        return cosine[..., None], sine[..., None], local
    zenith_field = torch.stack([cosine * math.cos(slant) - sine * math.sin(slant) for slant in slants], -1)
    azimuth_field = torch.stack([sine * math.cos(slant) + cosine * math.sin(slant) for slant in slants], -1)
    return zenith_field, azimuth_field, local


@dataclass(frozen=True)
class UserField:
    """How a user's panel sees arriving rays.

    Attributes:
        zenith: zenith field component of each port, shape (..., ports).
        azimuth: azimuth field component, likewise.
        cycles: phase of each element, in cycles, shape (..., columns * rows). Antennas count ports first, then elements.
    """

    zenith: Tensor
    azimuth: Tensor
    cycles: Tensor


def user_field(zenith: Tensor, azimuth: Tensor, panel: Panel) -> UserField | None:
    """Return how a user's panel sees rays that arrive from angles in radian, any shape.

    None stands for one vertical omnidirectional antenna, whose field is 1 in the zenith component and 0 in the azimuth component
    whatever the angles.
    """
    if panel.num_antennas == 1 and panel.element == "omni":
        return None
    upright = torch.zeros(3, dtype=zenith.dtype, device=zenith.device)
    slants = POLARISATION_SLANTS[panel.polarisation]
    zenith_field, azimuth_field, local = panel_field(zenith, azimuth, upright, panel.element, slants)
    column, row = (torch.arange(n, dtype=zenith.dtype, device=zenith.device) - (n - 1) / 2 for n in (panel.columns, panel.rows))
    across, down = panel.spacing_wavelengths * local[1][..., None, None], -panel.spacing_wavelengths * local[2][..., None, None]
    return UserField(zenith_field, azimuth_field, (across * column[:, None] + down * row).flatten(-2))
