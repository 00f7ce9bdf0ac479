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


def direction(zenith: Tensor, azimuth: Tensor) -> Tensor:
    """Unit vector of angles in radian, shape (..., 3); eq. (7.1-6)."""
    return torch.stack((zenith.sin() * azimuth.cos(), zenith.sin() * azimuth.sin(), zenith.cos()), -1)


def rotation(orientation: Tensor) -> Tensor:
    """Rotation matrix of (bearing, downtilt, slant) in radian, shape (..., 3) to (..., 3, 3); eq. (7.1-4)."""
    (ca, cb, cc), (sa, sb, sc) = orientation.cos().unbind(-1), orientation.sin().unbind(-1)
    return torch.stack(
        (
            torch.stack((ca * cb, ca * sb * sc - sa * cc, ca * sb * cc + sa * sc), -1),
            torch.stack((sa * cb, sa * sb * sc + ca * cc, sa * sb * cc - ca * sc), -1),
            torch.stack((-sb, cb * sc, cb * cc), -1),
        ),
        -2,
    )


def polarisation_turn(zenith: Tensor, azimuth: Tensor, orientation: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angle between global and local field components; eq. (7.1-15). Where both vanish the angle is 0."""
    bearing, tilt, slant = orientation.unbind(-1)
    turn = azimuth - bearing
    real = slant.sin() * zenith.cos() * turn.sin() + slant.cos() * (
        tilt.cos() * zenith.sin() - tilt.sin() * zenith.cos() * turn.cos()
    )
    imag = slant.sin() * turn.cos() + tilt.sin() * slant.cos() * turn.sin()
    square = real * real + imag * imag
    inverse = square.clamp_min(1e-30).rsqrt()
    return torch.where(square < 1e-30, 1.0, real * inverse), imag * inverse


def element_amplitude(local: Tensor, element: str) -> Tensor:
    """Field amplitude of one element towards a local unit vector (..., 3); table 7.3-1 for ``"38.901"``, 1 for ``"omni"``."""
    if element == "omni":
        return torch.ones_like(local[..., 0])
    zenith_deg = torch.rad2deg(torch.acos(local[..., 2].clamp(-1, 1)))
    # The pattern is even in azimuth, so its cosine is enough.
    azimuth_deg = torch.rad2deg(
        torch.acos((local[..., 0] * local[..., :2].square().sum(-1).clamp_min(1e-30).rsqrt()).clamp(-1, 1))
    )
    vertical_db = (12 * ((zenith_deg - 90) / 65).square()).clamp_max(30)
    horizontal_db = (12 * (azimuth_deg / 65).square()).clamp_max(30)
    gain_db = 8 - (vertical_db + horizontal_db).clamp_max(30)
    return torch.exp(gain_db * (math.log(10) / 20))


def panel_field(
    zenith: Tensor, azimuth: Tensor, orientation: Tensor, element: str, slants: tuple[float, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Field and local direction of a panel's elements.

    Args:
        zenith: departure angles, radian, any shape.
        azimuth: likewise.
        orientation: bearing, downtilt, slant of the panel, radian, shape broadcastable to (*zenith.shape, 3).
        element: element pattern.
        slants: polarisation slant of each port, radian; eq. (7.3-4), (7.3-5).

    Returns:
        Zenith and azimuth field components in global coordinates, each (*zenith.shape, ports), and the local unit vector
        (*zenith.shape, 3). Eq. (7.1-11).
    """
    local = (direction(zenith, azimuth).unsqueeze(-1) * rotation(orientation)).sum(-2)
    cosine, sine = (part[..., None] for part in polarisation_turn(zenith, azimuth, orientation))
    slant = torch.tensor(slants, dtype=zenith.dtype, device=zenith.device)
    amplitude = element_amplitude(local, element)[..., None]
    zenith_field = amplitude * (cosine * slant.cos() - sine * slant.sin())
    azimuth_field = amplitude * (sine * slant.cos() + cosine * slant.sin())
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
    across, down = panel.spacing_wavelengths * local[..., 1, None, None], -panel.spacing_wavelengths * local[..., 2, None, None]
    return UserField(zenith_field, azimuth_field, (across * column[:, None] + down * row).flatten(-2))
