"""Expectation propagation that ends by weighing each user's symbol together with that of its closest companion.

The first iterations treat users one by one, as `ep` does. In the last ones all pairs of points of a user and the one that its
error is most correlated with are weighed exactly, which makes it exact for two users. See `agents/_pair_ep.py`.

Sources: Cespedes, Olmos, Sanchez-Fernandez, Perez-Cruz, "Expectation propagation detection for high-order high-dimensional MIMO
systems", IEEE Trans. Commun. 62(8), 2014, eqs. (28) to (38); groups of variables in one factor: Minka, Qi, "Tree-structured
approximations by expectation propagation", NIPS 2003.
"""

from __future__ import annotations

from dataclasses import dataclass

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.modulation import log_likelihoods
from wirelessgym.options import require_at_least_one
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import from_logits, points_of, sufficient_statistics
from ._pair_ep import DAMPING, pair_log_likelihoods, start, turn


@dataclass(frozen=True)
class PairEP(Agent):
    """Detect with expectation propagation over single users, then over pairs.

    Args:
        single_turns: iterations that treat users one by one.
        pair_turns: iterations that weigh users in pairs; the last one answers.
        damping: weight of the new messages, above 0 and at most 1.
        soft: whether symbols are posterior means (small error) or the likeliest points (few symbol errors).

    Raises:
        ValueError: for an option out of range.
    """

    single_turns: int = 4
    pair_turns: int = 4
    damping: float = DAMPING
    soft: bool = True
    tasks = ("detection",)

    def __post_init__(self) -> None:
        if self.single_turns < 0:
            raise ValueError(f"single_turns: expected an integer >= 0, got {self.single_turns}")
        require_at_least_one(self, "pair_turns")
        if not 0 < self.damping <= 1:
            raise ValueError(f"damping: expected a number in (0, 1], got {self.damping}")

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return symbols, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: if the noise power is hidden.
        """
        points = points_of(task, obs["received"])
        belief = start(*sufficient_statistics(obs, "pair_ep"))
        for _ in range(self.single_turns):
            belief = turn(belief, log_likelihoods(belief.estimate, belief.variance, points), points, self.damping)
        for _ in range(self.pair_turns - 1):
            belief = turn(belief, pair_log_likelihoods(belief, points), points, self.damping)
        logits = pair_log_likelihoods(belief, points)
        return from_logits(task, logits.unflatten(0, obs["received"].shape[:2]), points, self.soft)
