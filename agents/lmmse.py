"""Linear minimum mean square error detection.

Source: Tse, Viswanath, "Fundamentals of Wireless Communication", 2005, section 8.3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import answer, linear_mmse, noise_power_of


@dataclass(frozen=True)
class LMMSE(Agent):
    """Detect with ``(H^H H + noise_power I)^-1 H^H y``: no linear detector has a smaller mean square error.

    The estimate is biased towards zero and knows nothing of the constellation; log-likelihood ratios come from the
    estimate with its bias taken out.
    """

    tasks = ("detection",)

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return symbol estimates, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: if the noise power is hidden.
        """
        estimate, unbiased, variance = linear_mmse(obs, noise_power_of(obs, "lmmse"))
        return answer(task, estimate, unbiased, variance)
