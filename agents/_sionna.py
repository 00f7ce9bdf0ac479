"""What the agents that wrap Sionna's detectors share."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from wirelessgym.fields import Obs

from ._linear import active_users


def sionna_phy(module: str) -> ModuleType:
    """Return ``sionna.phy.<module>``; its first import reseeds torch's global generators, which are restored."""
    with torch.random.fork_rng():
        return import_module(f"sionna.phy.{module}")


def reduced_channel(obs: Obs, noise_power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Observation in the form Sionna's detectors take, reduced without loss to one dimension per user.

    With ``H = Q R`` every likelihood depends on ``Q^H y`` alone; both are divided by the noise's standard deviation. A
    user without a channel gets a receive dimension of its own, in which nothing arrives, so that R is regular.

    Returns:
        Received, shape (batch, slots, users); channel, shape (batch, slots, users, users); noise covariance, the
        identity, of the same shape.
    """
    scale = noise_power.rsqrt()[:, None, None]
    own = torch.diag_embed((~active_users(obs["csi"].mT)).to(obs["csi"].dtype))
    basis, channel = torch.linalg.qr(torch.cat([obs["csi"] * scale, own], 1))
    received = (obs["received"] * scale) @ basis[:, : obs["csi"].shape[1]].conj()
    channel = channel[:, None].expand(-1, received.shape[1], -1, -1)
    identity = torch.eye(channel.shape[-1], dtype=channel.dtype, device=channel.device)
    return received, channel, identity.expand_as(channel)
