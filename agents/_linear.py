"""Linear mathematics that several precoders share. Shapes as in the precoding task: csi (batch, users, antennas)."""

from __future__ import annotations

import torch
from torch import Tensor

from wirelessgym.capacity import unit_rows
from wirelessgym.spec import TaskSpec


def wants_structure(task: TaskSpec) -> bool:
    """Whether the precoding task asks for the two numbers per user of the optimal structure instead of a precoder."""
    return any(field.name == "structure" for field in task.action_fields)


def require_antennas(csi: Tensor, method: str) -> None:
    """Refuse more users than antennas.

    Raises:
        ValueError: if there are.
    """
    users, antennas = csi.shape[-2:]
    if users > antennas:
        raise ValueError(f"{method} needs users <= antennas, got {users} users on {antennas} antennas")


def active_users(csi: Tensor) -> Tensor:
    """Return which users take part, shape (batch, users), bool: masked users have a row of zeros."""
    return (csi != 0).any(-1)


def regularised_directions(csi: Tensor, loading: Tensor) -> Tensor:
    """Unit-norm rows of ``(H H^H + loading I)^-1 H``, H = csi; users without a channel stay zero and disturb nobody.

    Args:
        csi: shape (batch, users, antennas), complex.
        loading: shape (batch,), float; zero for zero-forcing.

    Returns:
        Shape (batch, users, antennas).
    """
    # A row of zeros makes the Gram matrix singular; a one on its diagonal leaves every other row as it is.
    diagonal = loading[:, None] + torch.where(active_users(csi), 0.0, 1.0)
    return unit_rows(torch.linalg.solve(csi @ csi.mH + torch.diag_embed(diagonal).to(csi.dtype), csi))


def mmse_loading(csi: Tensor, noise_power: Tensor, tx_power: Tensor) -> Tensor:
    """Loading of least mean square error: users times noise power over transmit power, shape (batch,)."""
    return active_users(csi).sum(-1) * noise_power / tx_power


def equal_power(directions: Tensor, tx_power: Tensor) -> Tensor:
    """Give each user of ``directions`` (unit-norm or zero rows) the same share of ``tx_power``, shape (batch,), W."""
    share = tx_power / active_users(directions).sum(-1).clamp_min(1)
    return directions * share.sqrt()[:, None, None]


def block_diagonal(blocks: Tensor) -> Tensor:
    """Block-diagonal matrices: (..., parts, n, n) to (..., parts * n, parts * n)."""
    parts, size = blocks.shape[-3:-1]
    identity = torch.eye(parts, dtype=blocks.dtype, device=blocks.device)
    return (blocks[..., None, :] * identity[:, None, :, None]).reshape(*blocks.shape[:-3], parts * size, parts * size)
