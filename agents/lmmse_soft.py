"""LMMSE detection followed by the posterior mean over the constellation.

Source: Tuchler, Singer, Koetter, "Minimum mean squared error equalization using a priori information", IEEE Trans.
Signal Process. 50(3), 2002 (the first iteration; the error of the unbiased filter output is taken as Gaussian).
"""

from __future__ import annotations

from dataclasses import dataclass

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.modulation import posterior_mean_variance
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import answer, linear_mmse, noise_power_of, points_of


@dataclass(frozen=True)
class LMMSESoft(Agent):
    """Detect with the mean of each symbol given the unbiased LMMSE output."""

    tasks = ("detection",)

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return posterior means, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: if the noise power is hidden.
        """
        _, unbiased, variance = linear_mmse(obs, noise_power_of(obs, "lmmse_soft"))
        mean, _ = posterior_mean_variance(unbiased, variance, points_of(task, unbiased))
        return answer(task, mean, unbiased, variance)
