"""Maximum-likelihood detection: the likelihood of every vector of symbols; Sionna's implementation.

Source: Verdu, "Multiuser Detection", 1998, chapter 4; a user's probabilities are sums over all vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import from_logits, noise_power_of, points_of
from ._sionna import reduced_channel, sionna_phy

LARGEST_SEARCH = 2**20


@dataclass(frozen=True)
class ML(Agent):
    """Detect with `sionna.phy.mimo.MaximumLikelihoodDetector`, where the search is small enough.

    Args:
        soft: whether symbols are posterior means, which no detector's mean square error beats, or each user's
            likeliest point, which no detector's symbol error rate beats.
    """

    soft: bool = True
    tasks = ("detection",)
    only_when_named = True

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return symbols, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: if there are more than 2**20 vectors to try, or if the noise power is hidden.
        """
        points, users = points_of(task, obs["received"]), obs["csi"].shape[-1]
        vectors = len(points) ** users
        if vectors > LARGEST_SEARCH:
            raise ValueError(
                f"ml tries every vector of symbols: {len(points)} points ** {users} users = {vectors}, "
                f"expected at most {LARGEST_SEARCH}"
            )
        detector = sionna_phy("mimo").MaximumLikelihoodDetector(
            output="symbol",
            demapping_method="app",
            num_streams=users,
            constellation_type="qam",
            num_bits_per_symbol=len(points).bit_length() - 1,
            precision="single",
            device=str(points.device),
        )
        received, channel, noise = reduced_channel(obs, noise_power_of(obs, "ml"))
        # One received vector needs memory for every candidate: so rows are processed in groups that keep it moderate. The channel
        # is given once for all slots, and spread over them by the detector.
        rows = max(1, LARGEST_SEARCH // (vectors * received.shape[1]))
        parts = zip(*(torch.split(x, rows) for x in (received, channel[:, :1], noise[:, :1])), strict=True)
        return from_logits(task, torch.cat([detector(*part) for part in parts]), points, self.soft)
