"""Users in crowds: several stand close to one another, so that what they receive comes the same ways."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from wirelessgym.channel.randomness import uniform


def gathered(
    position_m: Tensor, users_per_group: int, radius_m: float, rows: Sequence[torch.Generator], nearest_m: float = 0.0
) -> Tensor:
    """Move users to places around the first of their group, uniformly in a disc, at their own heights.

    Args:
        position_m: drawn independently, shape (batch, users, 3); users that follow one another form a group.
        users_per_group: how many; the last group may have fewer.
        radius_m: of the disc, whose centre is where the group's first user was.
        rows: generators of the episodes.
        nearest_m: horizontal distance from the origin below which nobody stands; who would is moved away from it.

    Returns:
        Shape (batch, users, 3).
    """
    users = position_m.shape[1]
    first = torch.arange(users) // users_per_group * users_per_group
    distance, bearing = uniform((2, users), rows).unbind(1)
    distance, bearing = radius_m * distance.sqrt(), 2 * math.pi * bearing
    place = position_m[:, first, :2] + torch.stack((distance * bearing.cos(), distance * bearing.sin()), -1)
    far = place.square().sum(-1, keepdim=True).sqrt().clamp_min(1e-3)
    return torch.cat((place * (nearest_m / far).clamp_min(1.0), position_m[..., 2:]), -1)
