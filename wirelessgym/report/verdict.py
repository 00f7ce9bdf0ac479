"""The verdict of a table in plain words: who leads the best of the others, where, and by how much.

The numbers are the records' standings; `wirelessgym.evaluate.standings` has the rule behind them and says which way it errs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

from wirelessgym.record import Average, Interval, Record, Standing
from wirelessgym.report.labels import field_name, field_unit, metric_name
from wirelessgym.report.tables import Section, interval, label, number, unit_label

SIGNIFICANCE = 0.05
FACTOR_OF_TWO_DB = 10 * math.log10(2)
WORTH_DECIBELS = 0.5  # smaller ratios are told in percent alone
CLASSES = {
    "network": ("network", "network"),
    "fitted": ("fitted", "fitted agent"),
    "none": ("no training", "agent without training"),
}
State: TypeAlias = Literal["ahead", "undecided", "behind"]
Row: TypeAlias = list[Record]  # one agent's records, point by point


def verdict(section: Section) -> str:
    """Return the verdict on a table, in a few sentences.

    Empty where there is none: one agent alone, records from before standings were kept, or of comparisons that never met.
    """
    rows = _ranked(section)
    if len(rows) < 2:
        return ""
    leader = rows[0]
    best = {_class(row): row for row in reversed(rows)}
    said = [_leads(section, leader, several=len(best) > 1)]
    for kind, (_, noun) in CLASSES.items():
        champion = best.get(kind, leader)
        if champion is not leader:
            told = set(_rivals(leader)) == {champion[0].agent}  # the leader's sentence has their difference
            said.append(f"Best {noun}: {champion[0].agent}{'' if told else ', ' + _trails(champion, leader[0].agent)}.")
    return " ".join(said)


def champions(section: Section) -> list[str]:
    """The agents to look at: the best, then the best of those that learned from something else, then all others, best first."""
    rows = _ranked(section)
    names = [row[0].agent for row in rows]
    first = {_class(row): row[0].agent for row in reversed(rows)}
    named = sorted(first.values(), key=names.index)
    placed = [r.agent for r in section.points[0][1] if r.role == "agent" and r.status == "ok" and r.value]
    return list(dict.fromkeys([*named, *names, *placed]))


def _ranked(section: Section) -> list[Row]:
    """Agents with a standing at every point, best first; nobody where the standings aren't those of the records here."""
    if not all(_met(records) for _, records in section.points):
        return []
    rows = [[r for _, records in section.points for r in records if r.agent == agent and r.standing] for agent in section.agents]
    rows = [row for row in rows if len(row) == len(section.points)]
    means = {id(row): [_mean(record) for record in row] for row in rows}
    logarithmic = not section.first.higher_is_better and all(mean > 0 for row in means.values() for mean in row)
    sign = -1 if section.first.higher_is_better else 1
    return sorted(rows, key=lambda row: sum(math.log(m) if logarithmic else sign * m for m in means[id(row)]))


def _met(records: Sequence[Record]) -> bool:
    """Whether each agent's standing is against the best of the others that are here: whether all were compared with all."""
    loss = {
        r.agent: -_mean(r) if r.higher_is_better else _mean(r) for r in records if r.role == "agent" and math.isfinite(_mean(r))
    }
    rivals = {agent: min((loss[other] for other in loss if other != agent), default=math.inf) for agent in loss}
    return all(r.standing is not None and loss.get(r.standing.other) == rivals[r.agent] for r in records if r.agent in loss)


def _mean(record: Record) -> float:
    return record.value.mean if record.value and record.value.mean is not None else math.nan


def _class(row: Row) -> str:
    return row[0].training or "none"


def _standings(row: Row) -> list[Standing]:
    return [record.standing for record in row if record.standing]


def _rivals(row: Row) -> dict[str, list[str]]:
    """The best of the others, by name, and the points at which it is that."""
    found: dict[str, list[str]] = {}
    for record, standing in zip(row, _standings(row), strict=True):
        found.setdefault(standing.other, []).append(label(record.sweep.value) if record.sweep else "")
    return found


def _leads(section: Section, row: Row, several: bool) -> str:
    name = row[0].agent + (f" ({CLASSES[_class(row)][0]})" if several else "")
    rivals, axis = _rivals(row), section.axis if len(section.points) > 1 else None
    if len(rivals) == 1:
        rival = f"{next(iter(rivals))}, the best of the others"
    else:
        unit = _unit_after(axis)
        rival = f"the best of the others ({'; '.join(f'{other} at {listed(at)}{unit}' for other, at in rivals.items())})"
    average = _standings(row)[0].average
    places = f"; {_places(row, axis)}" if axis else ""
    if average is None:
        return f"{name} comes first; its rival is {rival}{places}."
    of_means = average.kind == "ratio of means"
    what = metric_name(row[0].headline) + (f" averaged over {field_name(axis)}" if axis and of_means else "")
    over = f", on average over {field_name(axis)}" if axis and not of_means else ""
    match _state(row):
        case "ahead":
            return f"{name}: {_difference(row[0], average, 'over', what)} {rival}{over}{places}."
        case "undecided":
            return f"Undecided: {name} comes first, {_difference(row[0], average, 'against', what)} {rival}{over}{places}."
        case _:
            return f"Nobody leads: {name} comes first, but {_difference(row[0], average, 'behind', what)} {rival}{over}{places}."


def _trails(row: Row, leader: str) -> str:
    average = _standings(row)[0].average
    rival = leader if set(_rivals(row)) == {leader} else "the best of the others"
    if average is None:
        return f"to be compared with {rival} point by point"
    what = ("mean " if average.kind == "ratio of means" and len(row) > 1 else "") + metric_name(row[0].headline)
    state = _state(row)
    if state == "undecided":
        return f"not told apart from {rival} ({_difference(row[0], average, '', what).strip()})"
    return f"{_difference(row[0], average, 'behind' if state == 'behind' else 'over', what)} {rival}"


def _places(row: Row, axis: str | None) -> str:
    """Where it is ahead, undecided and behind."""
    found: dict[State, list[str]] = {"ahead": [], "undecided": [], "behind": []}
    for record, standing in zip(row, _standings(row), strict=True):
        found[_at_point(standing)].append(label(record.sweep.value) if record.sweep else "")
    whole = [state for state, at in found.items() if len(at) == len(row)]
    if whole:
        return f"{whole[0]} at every point"
    return ", ".join(f"{state} at {listed(at)}{_unit_after(axis)}" for state, at in found.items() if at)


def _state(row: Row) -> State:
    """How an agent stands over the whole table."""
    standings = _standings(row)
    average = standings[0].average
    if average is None or len(row) == 1:
        return _at_point(standings[0]) if len(row) == 1 else "undecided"
    low, high = average.ci95
    if low <= 0 <= high:
        return "undecided"
    return "ahead" if (average.difference > 0) == row[0].higher_is_better else "behind"


def _at_point(standing: Standing) -> State:
    low, high = standing.ci95
    if low <= 0 <= high or standing.p_value_corrected >= SIGNIFICANCE:
        return "undecided"
    return "ahead" if standing.better else "behind"


def _difference(record: Record, average: Average, word: str, what: str) -> str:
    """The difference with its interval and direction: ``+0.31 [0.22, 0.40] bit/s/Hz over``, ``NMSE 5 % [3, 7] below``."""
    sign = -1 if word == "behind" and record.higher_is_better else 1
    if average.kind == "difference":
        low, high = sorted(sign * end for end in average.ci95)
        amount = _amount(sign * average.difference, (low, high))
        return f"{'' if word == 'behind' else _plus(amount)}{amount} {interval(low, high)} {unit_label(average.unit)} {word}"
    above = average.difference > 0
    low, high = average.ci95
    if max(abs(low), abs(high)) > FACTOR_OF_TWO_DB:
        low, high = (low, high) if above else (-high, -low)
        text = f"{_amount(abs(average.difference), (low, high))} dB {interval(low, high)}"
    else:
        shown = abs(_percent(average.difference))
        low, high = (_percent(low), _percent(high)) if above else (-_percent(high), -_percent(low))
        text = f"{_amount(shown, (low, high))} % {interval(low, high)}"
        if abs(average.difference) >= WORTH_DECIBELS:
            text += f" ({abs(average.difference):.2g} dB)"
    return f"{what} {text} {'above' if above else 'below'}"


def _percent(decibels: float) -> float:
    return 100 * (math.pow(10, decibels / 10) - 1)


def _amount(value: float, ends: Interval) -> str:
    return number(value, (ends[1] - ends[0]) / 2)


def _plus(amount: str) -> str:
    return "" if amount.startswith("−") else "+"


def listed(values: Sequence[str]) -> str:
    """``0, 5, 10``."""
    return ", ".join(values)


def _unit_after(axis: str | None) -> str:
    unit = field_unit(axis) if axis else ""
    return f" {unit}" if unit and unit != "°" else unit
