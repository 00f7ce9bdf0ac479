"""What rules of link adaptation have in common: the SINR that a report stands for, and the scheme that a SINR allows."""

from __future__ import annotations

import torch
from torch import Tensor

from wirelessgym.fields import Obs
from wirelessgym.link.abstraction import CQI_TARGET, Curves, cqi_curves, curves
from wirelessgym.link.mcs import HIGHEST_MCS, LOWEST_MCS

NUM_MCS = HIGHEST_MCS - LOWEST_MCS + 1
START_SPREAD = 1.0  # in MCS, of a policy before training about the choice of the inner loop
NEVER = -1e4  # a logit of what isn't chosen
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


def policy_logits(correction: Tensor, obs: Obs, resource_elements: int) -> Tensor:
    """Logits of a policy that starts about the choice of the inner loop, shape (batch, MCS).

    A retransmission keeps its MCS whatever is chosen, so there the policy has no choice: nothing is learned from it.

    Args:
        correction: what was learned, added to the start's logits, shape (batch, MCS).
        obs: the observation.
        resource_elements: of a slot.
    """
    start = highest_mcs(curves(resource_elements), reported_sinr_db(obs["cqi"], resource_elements), CQI_TARGET)
    mcs = torch.arange(LOWEST_MCS, HIGHEST_MCS + 1, device=start.device)
    logits = correction - ((mcs - start[:, None]) / START_SPREAD).square() / 2
    kept = mcs == obs["last_mcs"][:, None]
    return torch.where((obs["transmissions"] > 0)[:, None], torch.where(kept, 0.0, NEVER), logits)


def refuse_bad_target(target: float) -> None:
    """Refuse a target that no block error rate can have.

    Raises:
        ValueError: unless it lies between 0 and 1.
    """
    if not 0 < target < 1:
        raise ValueError(f"target: expected a block error rate between 0 and 1, got {target}")
