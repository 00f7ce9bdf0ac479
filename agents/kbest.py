"""K-best detection: a tree search over the users that keeps the best few paths at each level, by Sionna.

Source: Guo, Nilsson, "Algorithm and implementation of the K-best sphere decoding for MIMO detection", IEEE J. Sel.
Areas Commun. 24(3), 2006.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.options import require_at_least_one
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import noise_power_of, points_of, wants_llrs
from ._sionna import reduced_channel, sionna_phy


@dataclass(frozen=True)
class KBest(Agent):
    """Detect with `sionna.phy.mimo.KBestDetector`. Symbols are hard decisions: points of the constellation.

    Log-likelihood ratios are Sionna's: differences of the shortest distances among the remaining paths, at
    most 20.

    Args:
        paths: paths kept at each level; all of them is maximum likelihood.

    Raises:
        ValueError: for fewer than one path.
    """

    paths: int = 16
    tasks = ("detection",)

    def __post_init__(self) -> None:
        require_at_least_one(self, "paths")

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return decisions, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: with more users than antennas, or if the noise power is hidden.
        """
        antennas, users = obs["csi"].shape[-2:]
        if users > antennas:
            raise ValueError(f"kbest needs users <= antennas, got {users} users on {antennas} antennas")
        points = points_of(task, obs["received"])
        model = reduced_channel(obs, noise_power_of(obs, "kbest"))
        settings = {
            "num_streams": users,
            "k": min(self.paths, len(points) ** users),
            "constellation_type": "qam",
            "num_bits_per_symbol": len(points).bit_length() - 1,
            "precision": "single",
            "device": str(points.device),
        }
        detector = sionna_phy("mimo").KBestDetector
        decisions: Tensor = detector(output="symbol", hard_out=True, **settings)(*model)
        symbols = points[decisions.long()]
        return {"symbols": symbols, "llrs": detector(output="bit", **settings)(*model)} if wants_llrs(task) else symbols
