"""List detection: the likeliest vectors of symbols that a tree search finds, and the exact posterior over them.

The search is K-best on the sorted QR decomposition of the channel on top of a scaled identity (`agents/_tree.py`).

Sources: Wubben, Bohnke, Kuhn, Kammeyer, "MMSE extension of V-BLAST based on sorted QR decomposition", IEEE VTC Fall 2003, eqs.
(12) to (16); Guo, Nilsson, "Algorithm and implementation of the K-best sphere decoding for MIMO detection", IEEE J. Sel. Areas
Commun. 24(3), 2006, section III; ratios from a list: Hochwald, ten Brink, "Achieving near-capacity on a multiple-antenna
channel", IEEE Trans. Commun. 51(3), 2003, section IV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.modulation import bits_of, llrs_of_logits
from wirelessgym.options import require_at_least_one
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import in_chunks, points_of, sufficient_statistics, wants_llrs
from ._tree import Paths, likeliest, search

LARGEST_RATIO = 20.0  # of a bit that the whole list agrees on


@dataclass(frozen=True)
class ListMMSE(Agent):
    """Detect with the posterior mean over a list of the likeliest vectors.

    It is near the exact posterior mean where few vectors are likely, from 5 to 10 dB on; in more noise the list is too short, and
    `smc` or `pair_ep` do better.

    Args:
        list_size: vectors kept at each level; all of them make it exact.
        soft: whether symbols are posterior means (small error) or the likeliest points (few symbol errors).
        ratios: "exact" sums probabilities over the list, "max-log" takes the likeliest vector for each value of a bit. Both are
            at most 20 in magnitude, which is what a bit gets whose other value isn't on the list.

    Raises:
        ValueError: for an empty list, or an unknown kind of ratios.
    """

    list_size: int = 256
    soft: bool = True
    ratios: Literal["exact", "max-log"] = "exact"
    tasks = ("detection",)

    def __post_init__(self) -> None:
        require_at_least_one(self, "list_size")
        if self.ratios not in ("exact", "max-log"):
            raise ValueError(f"ratios: expected 'exact' or 'max-log', got {self.ratios!r}")

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return symbols, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: if the noise power is hidden.
        """
        points, shape = points_of(task, obs["received"]), obs["received"].shape[:2]
        statistics = sufficient_statistics(obs, "list_mmse", torch.complex128)
        found = [
            _log_marginals(search(gram, collected, points, self.list_size, likeliest), len(points))
            for gram, collected in in_chunks(statistics, self.list_size * len(points))
        ]
        summed, largest = (torch.cat(part).unflatten(0, shape) for part in zip(*found, strict=True))
        symbols = (torch.softmax(summed, -1) * points).sum(-1) if self.soft else points[summed.argmax(-1)]
        if not wants_llrs(task):
            return symbols
        ratios = llrs_of_logits(summed) if self.ratios == "exact" else _max_log_ratios(largest)
        return {"symbols": symbols, "llrs": ratios.clamp(-LARGEST_RATIO, LARGEST_RATIO)}


def _log_marginals(found: Paths, num_points: int) -> tuple[Tensor, Tensor]:
    """Log of the summed, and of the largest, weights of the paths through each user's points: shape (vectors, users, points)."""
    log_weights = found.log_weights - found.log_weights.amax(-1, keepdim=True)
    places = found.symbols.mT
    log_weights = log_weights[:, None].expand(places.shape)
    nothing = log_weights.new_zeros(*places.shape[:2], num_points)
    summed = nothing.scatter_add(2, places, log_weights.exp()).log()
    return summed, (nothing - torch.inf).scatter_reduce(2, places, log_weights, "amax")


def _max_log_ratios(largest: Tensor) -> Tensor:
    """Differences of the largest log-weights with the bit one and zero: shape (..., points) to (..., bits)."""
    num_points = largest.shape[-1]
    labels = bits_of(torch.arange(num_points, device=largest.device), num_points.bit_length() - 1).mT
    one, zero = (largest[..., None, :].masked_fill(labels != value, -torch.inf).amax(-1) for value in (True, False))
    return one - zero
