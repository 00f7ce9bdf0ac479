"""What the agents that wrap Sionna's detectors share."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from wirelessgym.fields import Action, Obs
from wirelessgym.modulation import llrs_of_logits
from wirelessgym.task import Task

from ._detection import wants_llrs


def sionna_phy(module: str) -> ModuleType:
    """Return ``sionna.phy.<module>``. Its first import reseeds torch's global generators, so their state is put back."""
    with torch.random.fork_rng():
        return import_module(f"sionna.phy.{module}")


def reduced_channel(obs: Obs, noise_power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Observation in the form Sionna's detectors take, without loss on as few dimensions as the signal has.

    With ``H = Q R`` every likelihood depends on ``Q^H y`` alone; both are divided by the noise's standard deviation.

    Returns:
        Received, shape (batch, slots, n), n being the smaller of users and antennas; channel, shape (batch, slots,
        n, users); noise covariance, the identity of shape (batch, slots, n, n).
    """
    basis, channel = torch.linalg.qr(obs["csi"] / noise_power.sqrt()[:, None, None])
    received = (obs["received"] / noise_power.sqrt()[:, None, None]) @ basis.conj()
    slots, size = received.shape[-2:]
    channel = channel[:, None].expand(-1, slots, -1, -1)
    identity = torch.eye(size, dtype=received.dtype, device=received.device)
    return received, channel, identity.expand(*received.shape, size)


def from_logits(task: Task, logits: Tensor, points: Tensor, soft: bool) -> Action:
    """Answer with what the log-probability of each point says.

    Args:
        task: the detection task.
        logits: shape (batch, slots, users, points), up to a constant.
        points: shape (points,).
        soft: whether symbols are posterior means or the likeliest points.
    """
    symbols = (torch.softmax(logits, -1) * points).sum(-1) if soft else points[logits.argmax(-1)]
    return {"symbols": symbols, "llrs": llrs_of_logits(logits)} if wants_llrs(task) else symbols
