"""The summary: outcomes of blocks to records, with intervals, paired differences and gaps to the bound."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wirelessgym.agent_spec import AgentSpec
from wirelessgym.evaluate.kept import Outcomes
from wirelessgym.evaluate.outcomes import Outcome
from wirelessgym.evaluate.seeds import SecretSeed
from wirelessgym.evaluate.standings import Headline, Summary
from wirelessgym.metrics import Metric
from wirelessgym.record import Gap, Latency, Paired, Record, Sweep, Value, provenance
from wirelessgym.registry import ids, load_scenario
from wirelessgym.scenario import in_tables
from wirelessgym.statistics import Array, Estimate, Series, estimate, holm, paired_p_value
from wirelessgym.task import Task

BEYOND = "beyond the bound"
ROUNDING = 1e-3  # relative to the bound: it is computed in float32, or by iterations that stop


@dataclass(frozen=True)
class Plan:
    """What all points of a comparison share.

    Attributes:
        agents: who is compared.
        floor: name of the one that is the floor, None without.
        added: its name if the caller didn't ask for it, None otherwise.
        reference: name of the one that the others are compared with.
        seed: seed of the episodes.
        episodes: their number.
        deadline_s: time limit of a decision, None without.
        fallback: who acts after it.
    """

    agents: tuple[AgentSpec, ...]
    floor: str | None
    added: str | None
    reference: str
    seed: int | SecretSeed
    episodes: int
    deadline_s: float | None
    fallback: AgentSpec | None


@dataclass(frozen=True)
class Point:
    """One scenario, at one value of the sweep.

    Attributes:
        task: the task in that scenario, with that value.
        sweep: the value, None without a sweep.
        table: number of the scenario: points that share it stand in one table.
    """

    task: Task
    sweep: Sweep | None
    table: int = 0


def summarise(plan: Plan, point: Point, blocks: Sequence[Outcomes]) -> Summary:
    """Turn the outcomes of all blocks of a point, in order, into records: agents as given, then floor, then bound."""
    task = point.task
    outcomes = {name: _joined([block[name] for block in blocks]) for name in blocks[0]}
    best = estimate(_series(task.metrics, outcomes[None].episodes))
    ceiling = best.get(task.headline.name)
    played = {
        agent.name: _series(task.metrics, outcome.episodes)
        for agent in plan.agents
        if (outcome := outcomes[agent.name]).traceback is None
    }
    estimates = {name: estimate(series) for name, series in played.items()}
    headlines = {name: found[task.headline.name] for name, found in estimates.items()}
    comparable = [agent.name for agent in plan.agents if agent.name != plan.floor and not agent.genie]
    paired = _paired(plan.reference, comparable, headlines, played, task.headline)
    records = []
    for agent in plan.agents:
        outcome, found = outcomes[agent.name], estimates.get(agent.name, {})
        shared = _shared(plan, point, outcome.seconds, ceiling)
        gap = _gap(headlines.get(agent.name), ceiling, task.headline)
        shared["notes"] = (*shared["notes"], *_notes(agent, found, played.get(agent.name, {})), *_beyond(agent, gap, ceiling))
        if plan.deadline_s is not None:
            shared |= {"deadline_s": plan.deadline_s, "fallbacks": outcome.late}
            shared["fallback"] = plan.fallback.spec if plan.fallback else None
        records.append(
            Record(
                **shared,
                agent=agent.name,
                role="floor" if agent.name == plan.floor else "genie" if agent.genie else "agent",
                metrics=_values(task.metrics, found),
                gap_to_bound=gap,
                paired=paired.get(agent.name),
                latency_s=_latency(outcome.latency_s),
                parameters=agent.parameters or outcome.parameters,
                training=agent.training,
                status="ok" if outcome.traceback is None else "failed",
                traceback=outcome.traceback,
                agent_options=agent.options,
            )
        )
    records.sort(key=lambda record: ("agent", "floor", "genie").index(record.role))
    if ceiling is not None:
        records.append(
            Record(
                **_shared(plan, point, outcomes[None].seconds, ceiling),
                agent="bound",
                role="bound",
                metrics=_values(task.metrics, best),
                gap_to_bound=None,
                paired=None,
                latency_s=None,
                parameters=0,
                agent_options={},
            )
        )
    rivals = {
        name: Headline(played[name][task.headline.name], value)
        for name in comparable
        if (value := headlines.get(name)) is not None
    }
    return Summary(records, rivals, task.headline, point.sweep)


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    """One outcome for all blocks; an agent that failed in one of them has failed."""
    failed = next((outcome.traceback for outcome in outcomes if outcome.traceback is not None), None)
    keys = () if failed is not None else outcomes[0].episodes
    return Outcome(
        {key: np.concatenate([outcome.episodes[key] for outcome in outcomes]) for key in keys},
        np.concatenate([outcome.latency_s for outcome in outcomes]),
        sum(outcome.late for outcome in outcomes),
        sum(outcome.seconds for outcome in outcomes),
        failed,
        max(outcome.parameters for outcome in outcomes),
    )


def _series(metrics: Sequence[Metric], episodes: Mapping[str, Array]) -> dict[str, Series]:
    """Metrics as quantities over episodes, vectors agent by agent; NaN in a vector marks an absent agent."""
    found: dict[str, Series] = {}
    for metric in metrics:
        if not all(key in episodes for key in metric.ratio or (metric.name,)):
            continue
        if metric.ratio:
            above, below = (episodes[key] for key in metric.ratio)
            if above.ndim > 1 and below.ndim == 1:
                below = np.broadcast_to(below[:, None], above.shape)
        else:
            above = episodes[metric.name]
            below = np.ones_like(above)
        if above.ndim == 1:
            found[metric.name] = Series(above, below, metric.decibel)
            if metric.ratio:
                alone = Series(above, below).per_episode
                found[f"{metric.name}_per_episode"] = Series(alone, np.ones_like(alone), metric.decibel)
        else:
            absent = np.isnan(above)
            above, below = np.where(absent, 0.0, above), np.where(absent, 0.0, below)
            for index in range(above.shape[1]):
                found[f"{metric.name}[{index}]"] = Series(above[:, index], below[:, index], metric.decibel)
    return found


def _values(metrics: Sequence[Metric], estimates: Mapping[str, Estimate | None]) -> dict[str, Value]:
    by_name = {metric.name: metric for metric in metrics}
    values = {}
    for name, found in estimates.items():
        metric = by_name[name.partition("[")[0].removesuffix("_per_episode")]
        values[name] = Value(
            mean=found.value if found else None,
            ci95=found.ci95 if found else None,
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
        )
    return values


def _paired(
    reference: str,
    names: Sequence[str],
    headlines: Mapping[str, Estimate | None],
    played: Mapping[str, Mapping[str, Series]],
    headline: Metric,
) -> dict[str, Paired]:
    base = headlines.get(reference)
    if base is None:
        return {}
    differences = {name: found.minus(base) for name in names if name != reference and (found := headlines.get(name))}
    p_values = [paired_p_value(played[name][headline.name], played[reference][headline.name]) for name in differences]
    return {
        name: Paired(
            reference=reference,
            difference=difference.value,
            ci95=difference.ci95,
            p_value=p,
            p_value_corrected=corrected,
            better=difference.value > 0 if headline.higher_is_better else difference.value < 0,
        )
        for (name, difference), p, corrected in zip(differences.items(), p_values, holm(p_values), strict=True)
    }


def _gap(found: Estimate | None, ceiling: Estimate | None, headline: Metric) -> Gap | None:
    if found is None or ceiling is None:
        return None
    difference = ceiling.minus(found) if headline.higher_is_better else found.minus(ceiling)
    return Gap(mean=difference.value, ci95=difference.ci95)


def _beyond(agent: AgentSpec, gap: Gap | None, ceiling: Estimate | None) -> list[str]:
    """A note on a result that is beyond the bound by more than chance and rounding explain."""
    if gap is None or ceiling is None or agent.genie or gap.ci95[1] >= -ROUNDING * abs(ceiling.value):
        return []
    return [f"{agent.name} is {BEYOND} by {-gap.mean:.3g}: either the bound is none, or it knows what it shouldn't"]


def _latency(seconds: Array) -> Latency | None:
    if not seconds.size:
        return None
    p50, p95 = np.quantile(seconds, [0.5, 0.95])
    return Latency(p50=float(p50), p95=float(p95))


def _notes(agent: AgentSpec, found: Mapping[str, Estimate | None], series: Mapping[str, Series]) -> list[str]:
    notes = []
    for name, value in found.items():
        if value is None:
            bad = int((~np.isfinite(series[name].per_episode)).sum())
            notes.append(f"{name}: no value, because it isn't finite in {bad} of {len(series[name].numerator)} episodes")
    if not agent.named:
        notes.append(f"{agent.name} is an object of the caller's ({agent.spec}); its command needs it under that name")
    return notes


def _shared(plan: Plan, point: Point, seconds: float, ceiling: Estimate | None) -> dict[str, Any]:
    """Entries that all records of a point have in common."""
    task, scenario = point.task, point.task.scenario
    known = scenario.id in ids("scenarios")
    away = f"{scenario.id} is a scenario of the caller's; its command needs the settings that stand in scenario_settings"
    return {
        "task": task.id,
        "scenario": scenario.id,
        "seed": plan.seed.digest if isinstance(plan.seed, SecretSeed) else plan.seed,
        "episodes": plan.episodes,
        "headline": task.headline.name,
        "higher_is_better": task.headline.higher_is_better,
        "bound": ceiling.value if ceiling else None,
        "notes": () if known else (away,),
        "scenario_settings": scenario.model_dump(mode="json"),
        "task_options": task.options,
        "sweep": point.sweep,
        "command": command(plan, point),
        "channel": scenario.channel.provenance,
        "provenance": provenance([scenario.channel], seconds),
    }


def command(plan: Plan, point: Point) -> str:
    """The command line that makes the records of a point again."""
    task, scenario = point.task, point.task.scenario
    known = scenario.id in ids("scenarios")
    agents = ",".join(agent.spec for agent in plan.agents if agent.name != plan.added)
    words = ["wirelessgym", "compare", task.id, "--agents", agents]
    words += ["--scenario", scenario.id if known else f"{scenario.id}.toml"]
    secret = isinstance(plan.seed, SecretSeed)
    words += ["--episodes", str(plan.episodes), *(["--seed-file", "FILE"] if secret else ["--seed", str(plan.seed)])]
    if plan.reference != plan.agents[0].name:
        words += ["--reference", plan.reference]
    changed = {key: value for key, value in task.options.items() if value != _default(task, key)}
    if known:
        usual = load_scenario(scenario.id).model_dump(mode="json")
        changed |= _changes(usual, scenario.model_dump(mode="json"))
    if point.sweep:
        swept = in_tables({point.sweep.axis: point.sweep.value})
        changed = {key: value for key, value in changed.items() if key not in swept}
    for key, value in changed.items():
        words += ["--set", f"{key}={_toml(value)}"]
    if point.sweep:
        words += ["--sweep", f"{point.sweep.axis}={_toml(point.sweep.value)}"]
    if plan.deadline_s is not None and plan.fallback is not None:
        words += ["--deadline-ms", f"{plan.deadline_s * 1e3:g}", "--fallback", plan.fallback.spec]
    return shlex.join(words)


def _default(task: Task, option: str) -> Any:
    return type(task).__dataclass_fields__[option].default


def _changes(usual: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fields that differ, nested ones as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in now.items():
        if isinstance(value, Mapping):
            found |= _changes(usual.get(key) or {}, value, f"{prefix}{key}.")
        elif key not in usual or value != usual[key]:
            found[prefix + key] = value
    return found


def _toml(value: Any) -> str:
    return "none" if value is None else json.dumps(value)
