"""What rules of link adaptation have in common: the SINR that a report stands for, and the scheme that a SINR allows."""

from __future__ import annotations

import torch
from torch import Tensor

from wirelessgym.link.abstraction import CQI_TARGET, Curves, cqi_curves
from wirelessgym.link.mcs import LOWEST_MCS

OUT_OF_RANGE_DB = 3.0  # how far below CQI 1 a report of 0 is taken to lie


def reported_sinr_db(cqi: Tensor, resource_elements: int) -> Tensor:
    """SINR at which a CQI is just reached, shape (batch,): the channel is at least as good, up to the next level."""
    levels = cqi_curves(resource_elements).threshold_db(CQI_TARGET)
    return torch.cat([levels[:1] - OUT_OF_RANGE_DB, levels]).to(cqi.device)[cqi]


def highest_mcs(curves: Curves, sinr_db: Tensor, target: float) -> Tensor:
    """Highest MCS whose block error rate stays within ``target``, or the lowest of all; shape (batch,), int64.

    Args:
        curves: of MCS 3 and following.
        sinr_db: effective, shape (batch,).
        target: block error rate of the first transmission.
    """
    allowed = curves.threshold_db(target).to(sinr_db.device) <= sinr_db[:, None]
    index = torch.arange(allowed.shape[1], device=sinr_db.device)
    return (allowed * index).amax(1) + LOWEST_MCS


def refuse_bad_target(target: float) -> None:
    """Refuse a target that no block error rate can have.

    Raises:
        ValueError: unless it lies between 0 and 1.
    """
    if not 0 < target < 1:
        raise ValueError(f"target: expected a block error rate between 0 and 1, got {target}")
