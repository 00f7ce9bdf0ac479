"""Inspection: from a name on the command line to the checks that fit what it names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wirelessgym.agent import as_agent
from wirelessgym.agent_names import imported, named_agent
from wirelessgym.check import Finding, check_agent, check_scenario, check_task
from wirelessgym.registry import UnknownIdError, ids, load_scenario, make_task, task_class
from wirelessgym.scenario import Scenario
from wirelessgym.task import Task

CHEAP: dict[str, Any] = {"num_subcarriers": 8, "horizon": 2}


def inspect_target(
    target: str, task: str | None = None, scenario: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, list[Finding]]]:
    """Check what ``target`` names, and yield a heading and findings for each check.

    Args:
        target: ``module:name`` (an agent, a task class or a scenario), an id, or a TOML file.
        task: for an agent, the task to try; by default each that it offers.
        scenario: where to try it; by default the task's own, with few subcarriers and steps.
        overrides: scenario fields and task options.

    Raises:
        UnknownIdError: if nothing has this id.
        ImportError: for a module or a name in it that isn't there.
    """
    thing = _found(target)
    settings = CHEAP | dict(overrides or {})
    if isinstance(thing, Scenario | Path):
        yield f"scenario {target}", check_scenario(thing)
    elif inspect.isclass(thing) and issubclass(thing, Task):
        yield f"task {target}", check_task(make_task(thing, scenario, **settings))
    else:
        agent = as_agent(thing)
        for name in [task] if task else list(agent.tasks) or ids("tasks"):
            yield f"agent {target} in {name}", check_agent(agent, make_task(name, scenario, **settings))


def _found(target: str) -> object:
    """The agent, task class, scenario or TOML path that ``target`` names."""
    if target.endswith(".toml"):
        return Path(target)
    if ":" in target and target.partition(":")[0] not in ids("agents"):
        module_name, _, name = target.partition(":")
        found = vars(imported(module_name)).get(name.partition(":")[0])
        if isinstance(found, Scenario) or (inspect.isclass(found) and issubclass(found, Task)):
            return found
        return named_agent(target)
    if target in ids("scenarios"):
        return load_scenario(target)
    if target in ids("tasks"):
        return task_class(target)
    if target.partition(":")[0] in ids("agents"):
        return named_agent(target)
    known = ", ".join(f"{len(ids(kind))} {kind}" for kind in ("tasks", "scenarios", "agents"))
    raise UnknownIdError(f"nothing is called {target!r} here (looked through {known}); see 'wirelessgym list'")
