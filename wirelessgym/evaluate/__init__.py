"""Comparison: agents on the same episodes, with intervals, paired differences and the gap to the bound."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from rich.console import Console

from wirelessgym.agent_spec import AgentSpec, unique
from wirelessgym.evaluate.estimate import fitting_workers, needs, refuse_too_large, warning
from wirelessgym.evaluate.players import Players
from wirelessgym.evaluate.run import Run
from wirelessgym.evaluate.seeds import SecretSeed
from wirelessgym.evaluate.shards import Shard
from wirelessgym.evaluate.summary import Plan, Point
from wirelessgym.evaluate.sweep import SweepError, parse_sweep
from wirelessgym.evaluate.table import PIPED_WIDTH, Table
from wirelessgym.isolation.process import TIMEOUT_S
from wirelessgym.learned import FIRST_TRAINING_SEED
from wirelessgym.options import is_number, whole_number
from wirelessgym.parallel import Automatic, Executor, make_executor
from wirelessgym.parallel.processes import Processes
from wirelessgym.record import Sweep, read_records
from wirelessgym.registry import agents_for, as_task_class, load_scenario, make_task, own_ids, refuse_unknown
from wirelessgym.scenario import Scenario
from wirelessgym.task import Task

__all__ = ["Table", "compare"]

FLOOR = "random"


def compare(
    task: str | type[Task],
    agents: Sequence[object] | None = None,
    scenario: str | Path | Scenario | Sequence[str | Path | Scenario] | None = None,
    episodes: int = 256,
    seed: int | SecretSeed = 7,
    *,
    reference: str | None = None,
    sweep: str | Mapping[str, Sequence[Any]] | None = None,
    processes: int | None = None,
    executor: str | Executor | None = None,
    isolated: bool = False,
    agent_timeout_s: float = TIMEOUT_S,
    shard: str | None = None,
    deadline_s: float | None = None,
    fallback: str | None = None,
    out: Path | str | None = None,
    progress: bool = True,
    show: bool = True,
    **overrides: Any,
) -> Table:
    """Compare agents on the same episodes.

    Every number but latency is a function of these arguments, whatever the number of processes. A floor, the ``random``
    agent, and a ceiling, the task's bound, stand in every table.

    Args:
        task: task id, or a task class.
        agents: registry ids (``"wmmse"``, ``"wmmse:iterations=50"``), ``"module:name"``, and whatever
            `wirelessgym.as_agent` takes; None for all registered agents that do the task, but for
            those that want to be named (`Agent.only_when_named`).
        scenario: scenario id, TOML file or `Scenario`, or several of them; by default the task's own.
        episodes: number of episodes, at least 2; they are episodes 0, 1, ... of ``seed``.
        seed: their seed, below 2^61 (training has the seeds above), or one that nobody is told (`SecretSeed.read`).
        reference: agent that the others are compared with; by default the first.
        sweep: one field of scenario or task, dotted where nested, and its values: ``{"snr_db": [0, 10]}``,
            ``"num_users=4,6,8"``, or ``"snr_db=0:20:5"`` with the stop included.
        processes: 1 stays in this process; None takes all cores when the work is long enough to pay for starting them.
        executor: who works: ``"here"``, ``"processes"``, ``"ray"`` or an object of one's own (`wirelessgym.parallel.Executor`);
            None decides by ``processes``.
        isolated: whether agents that aren't the project's own, which play in processes of their own in any case, get an empty
            folder to work in, none of this process's environment variables, and no state even as genies.
        agent_timeout_s: seconds for one answer of such a process; then it is ended and its agent has failed.
        shard: ``"i/n"`` plays every n-th block only, and leaves it in ``out``, which n calls with the same arguments share. The
            table holds the points whose blocks are all there; so the last of the calls gives the whole table, as does one
            without ``shard``. Who fails in one part has failed in the table.
        deadline_s: seconds for one decision. Agents then act on one episode at a time, and a late answer is replaced by
            the fallback's; results depend on the machine's speed.
        fallback: id of the agent that stands in; by default the task's own (`Task.fallback_agent`).
        out: folder for ``records/*.json``, ``results.csv`` and ``blocks/``, from which a later call goes on.
        progress: whether to show progress on a terminal.
        show: whether to print the tables.
        overrides: options of the task and fields of the scenario, as in `wirelessgym.make_task`.

    Returns:
        The table, with a verdict (`Table.verdicts`). An agent that raises is in it as failed, with its traceback; ``exit_code``
        tells.

    Raises:
        UnknownIdError: for an unknown task, scenario or agent.
        ScenarioError: for an override or swept field that doesn't exist or is out of range.
        SweepError: for a sweep that can't be read.
        ValueError: for too few episodes, a seed that training has, no agents, an agent that doesn't do the task, an unknown
            reference, or a comparison that needs more memory than is free.
        RecordSchemaError: if ``out`` holds records of another schema version.
        WorkerError: if a worker of the executor ends while it works.
        KeyboardInterrupt: after Ctrl-C, once what is finished is saved.
    """
    cls = as_task_class(task)
    refuse_unknown(cls, overrides, beside=set(signature(compare).parameters) - {"overrides"})
    _check_numbers(episodes, seed, agent_timeout_s, deadline_s)
    points = _points(cls, scenario, sweep, overrides)
    worker = make_executor(executor, processes)
    folder = Path(out) if out is not None else None
    part = None if shard is None else Shard.parse(shard)
    if part is not None and folder is None:
        raise ValueError("shard: the parts of a comparison meet in a folder; name it with out")
    if folder is not None and any((folder / "records").glob("*.json")):
        read_records(folder)
    with Players(agent_timeout_s, isolated) as players:
        plan = _plan(points[0].task, players, agents, reference, seed, episodes, deadline_s, fallback)
        _check_size(plan, [point.task for point in points], worker)
        table = Run(plan, points, players, worker, folder, part).play(progress)
    if show:
        Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)
    return table


def _check_size(plan: Plan, tasks: Sequence[Task], executor: Executor) -> None:
    """Refuse what can't fit, and say what takes long, before anything is sampled or listed."""
    strangers = sum(not agent.own for agent in plan.agents)
    size = needs(tasks, plan.episodes, len(plan.agents), strangers)
    if isinstance(executor, Automatic):
        executor.workers = fitting_workers(size, executor.workers)
    refuse_too_large(size, executor.workers if isinstance(executor, Processes) else 1)
    if said := warning(size, executor.workers if isinstance(executor, Processes | Automatic) else 1):
        print(said, file=sys.stderr)


def _check_numbers(episodes: int, seed: int | SecretSeed, agent_timeout_s: float, deadline_s: float | None) -> None:
    whole_number("episodes", episodes)
    if episodes < 2:
        raise ValueError(f"episodes: expected at least 2, since intervals are over episodes, got {episodes}")
    if not isinstance(seed, SecretSeed):
        whole_number("seed", seed)
        if not 0 <= seed < FIRST_TRAINING_SEED:
            raise ValueError(
                f"seed: expected 0 to 2^61 - 1, since learned agents train on the episodes of larger seeds, got {seed}"
            )
    for name, seconds in (("deadline_s", deadline_s), ("agent_timeout_s", agent_timeout_s)):
        if seconds is not None and not (is_number(seconds) and 0 < seconds < math.inf):
            raise ValueError(f"{name}: expected a positive number of seconds (finite), got {seconds!r}")


def _points(
    cls: type[Task],
    scenario: str | Path | Scenario | Sequence[str | Path | Scenario] | None,
    sweep: str | Mapping[str, Sequence[Any]] | None,
    overrides: Mapping[str, Any],
) -> list[Point]:
    if scenario is None or isinstance(scenario, str | Path | Scenario):
        settings = [cls.default_scenario if scenario is None else scenario]
    elif isinstance(scenario, Sequence):
        settings = [load_scenario(one) for one in scenario]
    else:
        raise TypeError(f"scenario: expected an id, a TOML file, a Scenario or a list of them, got {scenario!r}")
    if not settings:
        raise ValueError("scenario: expected at least one, got an empty list")
    if sweep is None:
        return [Point(make_task(cls, one, **overrides), None, number) for number, one in enumerate(settings)]
    axis, values = parse_sweep(sweep)
    if axis in ("task", "scenario"):
        raise SweepError(f"{axis} is no field to sweep; give several scenarios as scenario, or compare task by task")
    if axis in overrides:
        raise SweepError(f"{axis} is swept and set to {overrides[axis]!r} at once")
    if axis == "tx_power_dbw" and overrides.get("noise_power_dbw") is None:
        raise SweepError(
            "tx_power_dbw: noise follows transmit power at a given snr_db, nothing would change; set noise_power_dbw"
        )
    return [
        Point(make_task(cls, one, **{**overrides, axis: value}), Sweep(axis=axis, value=value), number)
        for number, one in enumerate(settings)
        for value in values
    ]


def _plan(
    task: Task,
    players: Players,
    agents: Sequence[object] | None,
    reference: str | None,
    seed: int | SecretSeed,
    episodes: int,
    deadline_s: float | None,
    fallback: str | None,
) -> Plan:
    family = task.family
    specs = players.specs(agents, family)
    names = [spec.name for spec in specs]
    if reference is not None and reference not in names:
        raise ValueError(f"reference: no agent here is called {reference!r}; there are: {', '.join(names)}")
    floor = next((spec.name for spec in specs if spec.spec == FLOOR), None)
    added = None
    if floor is None and FLOOR in own_ids("agents") and FLOOR in agents_for(family, own=True):
        specs = unique([*specs, *players.specs([FLOOR], family)])
        floor = added = specs[-1].name
    stand_in: AgentSpec | None = None
    if deadline_s is not None:
        (stand_in,) = players.specs([fallback or task.fallback_agent], family)
    elif fallback is not None:
        raise ValueError(f"fallback {fallback!r} stands in for late answers and needs deadline_s")
    return Plan(tuple(specs), floor, added, reference or names[0], seed, episodes, deadline_s, stand_in)
