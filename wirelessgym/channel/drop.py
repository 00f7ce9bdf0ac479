"""Drops: what an episode's channel is sampled from, kept whole for tasks that ask where users are and not only how they fade."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from wirelessgym.channel.rays import Rays
from wirelessgym.fields import Rows


@dataclass(frozen=True)
class Drop(Rows):
    """One sampled drop per episode of a batch. What a kind of channel doesn't know is None, for all its episodes alike.

    Coordinates are TR 38.901's (section 7.1): zenith 0 is up, azimuth 0 is the x axis, towards which the station's sector looks.

    Attributes:
        rays: rays of all links.
        line_of_sight: which users see the base station, shape (batch, users), bool. None without a notion of sight (rayleigh).
        user_position_m: shape (batch, users, 3), float32. None without geometry (cdl, tdl, rayleigh).
        bs_position_m: shape (batch, 3), float32. None without geometry.
        velocity_mps: of each user, shape (batch, users, 3), float32. None where only the speed has a meaning (tdl, rayleigh).
        departure: zenith and azimuth at the base station of the straight line to each user, radian, shape (batch, users, 2),
            float32; it's the direct path's where there is line of sight, and known without it too. None where nothing lies on
            a line (cdl-a to cdl-c, tdl, rayleigh).
        arrival: likewise at the user, of the line to the base station.
    """

    rays: Rays
    line_of_sight: Tensor | None = None
    user_position_m: Tensor | None = None
    bs_position_m: Tensor | None = None
    velocity_mps: Tensor | None = None
    departure: Tensor | None = None
    arrival: Tensor | None = None

    def scaled(self, factor: Tensor) -> Drop:
        """Return a drop whose channel is ``factor`` (batch, users) times as large; geometry stays."""
        return replace(self, rays=self.rays.scaled(factor))
