"""Intervals and paired comparisons over episodes.

Episodes are independent and every agent meets the same ones, so episodes are what is resampled, all quantities of a
comparison with the same resamples. Sources: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section
13.3 (percentile interval); Student, Biometrika 6(1), 1908 (paired differences); Holm, Scand. J. Statist. 6(2), 1979
(correction).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import stats

Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

RESAMPLES = 2000
RESAMPLING_SEED = 0
_CHUNK_ENTRIES = 2**21  # resamples are counted in pieces of 16 MB


@dataclass(frozen=True)
class Series:
    """One quantity over episodes: sum(numerator) / sum(denominator), in decibel if so wanted.

    A mean is the ratio whose denominator is 1 for every episode that has a value.

    Attributes:
        numerator: shape (episodes,), float64.
        denominator: shape (episodes,), float64.
        decibel: whether the value is ``10 log10`` of the ratio.
    """

    numerator: Array
    denominator: Array
    decibel: bool = False

    @property
    def per_episode(self) -> Array:
        """The value of each episode alone, shape (episodes,)."""
        return self._ratio(self.numerator, self.denominator)

    @property
    def influence(self) -> Array:
        """How far each episode pulls the value, shape (episodes,), of zero mean: for a mean, its distance from it.

        Source: Efron and Tibshirani, chapter 21 (influence functions and the delta method).
        """
        ratio = self.numerator.sum() / self.denominator.sum()
        pull = np.asarray((self.numerator - ratio * self.denominator) / self.denominator.mean())
        return 10 / np.log(10) / ratio * pull if self.decibel else pull

    @property
    def value(self) -> float:
        """The value over all episodes; NaN or infinite where it isn't defined."""
        return float(self._ratio(self.numerator.sum(), self.denominator.sum()))

    def of_sums(self, sums: Array) -> Array:
        """The value of each resample from its two sums, shape (resamples, 2)."""
        return self._ratio(sums[:, 0], sums[:, 1])

    def _ratio(self, numerator: Array, denominator: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.asarray(numerator / denominator)
            return 10 * np.log10(ratio) if self.decibel else ratio


@dataclass(frozen=True)
class Estimate:
    """A value over all episodes and the same value over each resample, shape (resamples,)."""

    value: float
    resampled: Array

    @property
    def ci95(self) -> tuple[float, float]:
        """The 95 % percentile interval."""
        return interval(self.resampled)

    def minus(self, other: Estimate) -> Estimate:
        """The paired difference: both values come from the same episodes in every resample."""
        return Estimate(self.value - other.value, self.resampled - other.resampled)


def interval(resampled: Array) -> tuple[float, float]:
    """2.5th and 97.5th percentile; resamples in which the value isn't defined are left out."""
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def resample_counts(episodes: int, resamples: int = RESAMPLES, seed: int = RESAMPLING_SEED) -> Iterator[Array]:
    """Yield how often each episode occurs in each resample, in pieces of shape (some resamples, episodes).

    A resample's sums are then one matrix product for all quantities. The draws are those of ``scipy.stats.bootstrap``
    with the same generator, which gathers each quantity anew and takes some forty times as long for a record.
    """
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_ENTRIES // episodes)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = generator.integers(0, episodes, (rows, episodes)) + np.arange(rows)[:, None] * episodes
        counts = np.bincount(drawn.ravel(), minlength=rows * episodes)
        yield counts.reshape(rows, episodes).astype(np.float64)


def estimate(series: Mapping[str, Series]) -> dict[str, Estimate | None]:
    """Return each quantity with its resamples; None for one that isn't finite."""
    finite = {
        name: one
        for name, one in series.items()
        if np.isfinite(one.numerator).all() and np.isfinite(one.denominator).all() and np.isfinite(one.value)
    }
    found: dict[str, Estimate | None] = dict.fromkeys(series)
    if not finite:
        return found
    columns = np.stack([column for one in finite.values() for column in (one.numerator, one.denominator)], 1)
    sums = np.concatenate([counts @ columns for counts in resample_counts(len(columns))])
    for index, (name, one) in enumerate(finite.items()):
        found[name] = Estimate(one.value, one.of_sums(sums[:, 2 * index : 2 * index + 2]))
    return found


def paired_p_value(a: Series, b: Series) -> float:
    """Two-sided p-value of a paired t-test on ``a.value - b.value``: on the difference that is shown, not on ranks or medians.

    The values may be ratios of sums; the test is then on each episode's influence on them. 1 for agents that don't differ.
    """
    shown = a.value - b.value
    per_episode = shown + a.influence - b.influence
    if np.ptp(per_episode) <= 1e-12 * np.abs(per_episode).max(initial=0.0):  # every episode differs by the same
        return 1.0 if shown == 0 else 0.0
    return float(stats.ttest_1samp(per_episode, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's step-down procedure, in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
