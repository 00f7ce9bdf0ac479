"""Standings: where each agent stands against the best of all the others, at each point and averaged over a sweep.

The rule. At each point the best of the others is the agent with the best mean there, whatever it learned from; floor, bounds,
genies and agents that failed are nobody's rivals. The difference to it is paired: both are resampled over the same episodes, and
p is that of a paired t-test, corrected after Holm over the points of the sweep. Averaged over a sweep, the rival may be another
one at each point, and every resample takes the same episodes at all points.

Errors span decades over a sweep, so not their differences but their ratios are averaged (in dB), every point counting alike.
Where some agent makes so few errors at some point that a resample has none, a ratio there says nothing; then, for the whole
table, the errors themselves are averaged first, and one ratio is taken of the two means. No point is left out either way.

Which way it errs. The best of several noisy means looks better than it is, and it is chosen on the episodes that it is then
compared on. So leads come out too small and arrears too large: the error is the sceptic's. Whoever leads is chosen on the same
episodes as well, but against the runner-up: among equals, one of them is called ahead in at most the 5 % that the test allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wirelessgym.metrics import Metric
from wirelessgym.record import Average, Record, Standing, Sweep
from wirelessgym.statistics import Array, Estimate, Series, holm, paired_p_value


@dataclass(frozen=True)
class Headline:
    """An agent's headline metric at one point: over the episodes, and resampled."""

    series: Series
    found: Estimate


@dataclass(frozen=True)
class Summary:
    """What came of one point.

    Attributes:
        records: agents as given, then floor, then bound.
        headlines: of the agents that are compared, by name.
        headline: what their headline metric is.
        sweep: the point of the sweep, None without one.
    """

    records: list[Record]
    headlines: Mapping[str, Headline]
    headline: Metric
    sweep: Sweep | None


def with_standings(table: Sequence[Summary]) -> list[Record]:
    """Return the records of one table, point by point, each compared agent's with its `Standing`.

    Args:
        table: the points of one sweep, or a single one.
    """
    found: list[dict[str, Standing]] = [{} for _ in table]
    for agent in dict.fromkeys(name for point in table for name in point.headlines):
        for place, standing in _standings(agent, table).items():
            found[place][agent] = standing
    return [
        record.model_copy(update={"standing": standings[record.agent]}) if record.agent in standings else record
        for point, standings in zip(table, found, strict=True)
        for record in point.records
    ]


def _standings(agent: str, table: Sequence[Summary]) -> dict[int, Standing]:
    """An agent's standing at each point, by the point's place, as far as it has one."""
    rivals = {place: other for place, point in enumerate(table) if (other := _best_other(agent, point)) is not None}
    pairs = [(table[place].headlines[agent], table[place].headlines[other]) for place, other in rivals.items()]
    p_values = [paired_p_value(mine.series, best.series) for mine, best in pairs]
    average = _average([(mine.found, best.found) for mine, best in pairs], table) if len(rivals) == len(table) else None
    standings = {}
    for (place, other), (mine, best), p, corrected in zip(rivals.items(), pairs, p_values, holm(p_values), strict=True):
        difference = mine.found.minus(best.found)
        standings[place] = Standing(
            other=other,
            difference=difference.value,
            ci95=difference.ci95,
            p_value=p,
            p_value_corrected=corrected,
            better=difference.value > 0 if table[place].headline.higher_is_better else difference.value < 0,
            average=average,
        )
    return standings


def _best_other(agent: str, point: Summary) -> str | None:
    sign = -1 if point.headline.higher_is_better else 1
    others = [name for name in point.headlines if name != agent]
    if agent not in point.headlines or not others:
        return None
    return min(others, key=lambda name: sign * point.headlines[name].found.value)


def _average(pairs: Sequence[tuple[Estimate, Estimate]], table: Sequence[Summary]) -> Average | None:
    """The average over the points of an agent and its best rivals there; None if somebody makes no errors at all."""
    metric, kind = table[0].headline, _kind(table)
    mine, best = zip(*pairs, strict=True)
    if kind == "ratio of means":
        if _mean(mine).value <= 0 or _mean(best).value <= 0:
            return None
        with np.errstate(invalid="ignore"):  # resamples in which neither makes an error
            found = _decibels(_mean(mine)).minus(_decibels(_mean(best)))
    elif kind == "ratio":
        found = _mean([_decibels(a).minus(_decibels(b)) for a, b in pairs])
    else:
        found = _mean([a.minus(b) for a, b in pairs])
    if not np.isfinite([found.value, *found.ci95]).all():
        return None
    return Average(kind=kind, difference=found.value, ci95=found.ci95, unit=metric.unit if kind == "difference" else "dB")


def _kind(table: Sequence[Summary]) -> Literal["difference", "ratio", "ratio of means"]:
    metric = table[0].headline
    if metric.higher_is_better or metric.decibel or metric.unit != "1":
        return "difference"
    everyone = [headline.found for point in table for headline in point.headlines.values()]
    return "ratio" if all(found.value > 0 and found.resampled.min() > 0 for found in everyone) else "ratio of means"


def _mean(found: Sequence[Estimate]) -> Estimate:
    return Estimate(float(np.mean([one.value for one in found])), np.mean([one.resampled for one in found], 0))


def _decibels(found: Estimate) -> Estimate:
    with np.errstate(divide="ignore"):
        resampled: Array = 10 * np.log10(found.resampled)
        return Estimate(float(10 * np.log10(found.value)), resampled)
