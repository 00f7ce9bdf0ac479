"""The registry: ids to tasks, scenarios and agents.

An id is a file's name in its folder; the folders are listed, not imported, so listing costs nothing. Other packages add theirs
through the entry points ``wirelessgym.tasks``, ``wirelessgym.scenarios`` (a path to a TOML file, or a callable returning one) and
``wirelessgym.agents``.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from wirelessgym.plugins import public_class
from wirelessgym.suggest import closest, hint

if TYPE_CHECKING:
    from wirelessgym.agent import Agent
    from wirelessgym.scenario import Scenario
    from wirelessgym.task import Task

Kind: TypeAlias = Literal["tasks", "scenarios", "agents"]


class UnknownIdError(LookupError):
    """No task, scenario or agent has this id; the message suggests the nearest one."""


def _folder(kind: Kind) -> Path:
    spec = importlib.util.find_spec(f"wirelessgym.{kind}")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"wirelessgym.{kind} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def _files(kind: Kind) -> dict[str, Path]:
    suffix = ".toml" if kind == "scenarios" else ".py"
    folder = _folder(kind)
    packages = [] if kind == "scenarios" else [p.parent for p in folder.glob("*/__init__.py")]
    found = {p.stem: p for p in (*folder.glob(f"*{suffix}"), *packages) if not p.stem.startswith("_")}
    return dict(sorted(found.items()))


def _plugins(kind: Kind) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"wirelessgym.{kind}")}


def ids(kind: Kind) -> list[str]:
    """Return every id of a kind, built-in ones first; imports nothing."""
    built_in = list(_files(kind))
    return built_in + sorted(set(_plugins(kind)) - set(built_in))


def own_ids(kind: Kind) -> list[str]:
    """Return the ids of a kind that come with this package; imports nothing."""
    return list(_files(kind))


def training_files() -> dict[str, Path]:
    """Return the training configurations that come with the agents, by name."""
    return {path.stem: path for path in sorted((_folder("agents") / "training").glob("*.toml"))}


def checkpoint_folders() -> dict[str, Path]:
    """Return the folders of the checkpoints that come with the agents, by name."""
    return {path.parent.name: path.parent for path in sorted((_folder("agents") / "checkpoints").glob("*/card.json"))}


def agent_module(name: str) -> ModuleType:
    """Return a module beside the agents, such as ``universal.model_store``.

    Raises:
        ImportError: if it, or what it needs, isn't installed.
    """
    return importlib.import_module(f"wirelessgym.agents.{name}")


def _missing(kind: Kind, name: str) -> UnknownIdError:
    return UnknownIdError(f"no {kind[:-1]} is called {name!r}; {hint(name, ids(kind))}")


def _class(kind: Kind, name: str, base: type) -> Any:
    if not isinstance(name, str):
        raise TypeError(f"{kind[:-1]}: expected an id, got {name!r}")
    if name in _files(kind):
        return public_class(importlib.import_module(f"wirelessgym.{kind}.{name}"), base)
    if name in (plugins := _plugins(kind)):
        loaded = plugins[name].load()
        if not (inspect.isclass(loaded) and issubclass(loaded, base)):
            raise TypeError(f"entry point {name!r} of wirelessgym.{kind}: expected a {base.__name__} class, got {loaded!r}")
        return loaded
    raise _missing(kind, name)


def task_class(name: str) -> type[Task]:
    """Return the class of a task.

    Raises:
        UnknownIdError: for an unknown id.
    """
    from wirelessgym.task import Task

    cls: type[Task] = _class("tasks", name, Task)
    return cls


def agent_class(name: str) -> type[Agent]:
    """Return the class of an agent.

    Raises:
        UnknownIdError: for an unknown id.
    """
    from wirelessgym.agent import Agent

    cls: type[Agent] = _class("agents", name, Agent)
    return cls


def as_task_class(task: str | type[Task]) -> type[Task]:
    """Return a task's class, by id or as given.

    Raises:
        UnknownIdError: for an unknown id.
        TypeError: for something else than these.
    """
    from wirelessgym.task import Task

    if isinstance(task, str):
        return task_class(task)
    if isinstance(task, Task):
        raise TypeError(f"task: expected an id or a Task class, got a task; give {task.id!r}, its scenario and its options")
    if not (inspect.isclass(task) and issubclass(task, Task)):
        raise TypeError(f"task: expected an id or a Task class, got {task!r:.200}")
    return task


def load_scenario(scenario: str | Path | Scenario, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """Return a scenario by id, from a TOML file (a path, or a string ending in ``.toml``) or as given, with overrides applied.

    Raises:
        UnknownIdError: for an unknown id.
        ScenarioError: for a wrong key or value.
        FileNotFoundError: for a path that isn't there.
        TypeError: for something else than these.
    """
    from wirelessgym.scenario import Scenario

    if isinstance(scenario, Scenario):
        return scenario.with_overrides(overrides or {})
    if not isinstance(scenario, str | Path):
        raise TypeError(f"scenario: expected an id, a TOML file or a Scenario, got {scenario!r}")
    if isinstance(scenario, Path) or scenario.endswith(".toml"):
        return Scenario.from_file(Path(scenario), overrides)
    if scenario in (files := _files("scenarios")):
        return Scenario.from_file(files[scenario], overrides)
    if scenario in (plugins := _plugins("scenarios")):
        target = plugins[scenario].load()
        return Scenario.from_file(Path(target() if callable(target) else target), overrides)
    raise _missing("scenarios", scenario)


def make_task(task: str | type[Task], scenario: str | Path | Scenario | None = None, **overrides: Any) -> Task:
    """Return a task in a scenario.

    Args:
        task: id (see `ids`) or class.
        scenario: id, TOML file or `Scenario`; by default the task's own.
        overrides: options of the task, and fields of the scenario (``panel={"columns": 8}`` for nested ones).

    Raises:
        UnknownIdError: for an unknown task or scenario.
        ScenarioError: for an override that neither knows, or out of range.
        TypeError: for a task or scenario that is none.
    """
    cls = as_task_class(task)
    own = {f.name for f in fields(cls)} - {"scenario"}
    options = {key: value for key, value in overrides.items() if key in own}
    rest = {key: value for key, value in overrides.items() if key not in own}
    refuse_unknown(cls, rest)
    return cls(scenario=load_scenario(cls.default_scenario if scenario is None else scenario, rest), **options)


def refuse_unknown(cls: type[Task], overrides: Iterable[str], beside: Iterable[str] = ()) -> None:
    """Refuse overrides that neither a task nor a scenario knows.

    Args:
        cls: the task.
        overrides: names, dotted where nested.
        beside: names of other arguments, which may have been meant.

    Raises:
        ScenarioError: with the nearest name.
    """
    from wirelessgym.scenario import TOP_LEVEL_KEYS, Scenario, ScenarioError

    known = sorted({*Scenario.model_fields, *TOP_LEVEL_KEYS, *(f.name for f in fields(cls) if f.name != "scenario")})
    for key in overrides:
        if key.partition(".")[0] not in known:
            close = closest(key, {*known, *beside})
            said = f"did you mean {close!r}?" if close else hint(key, known)
            raise ScenarioError(f"{cls.id}: unknown option or scenario key {key!r}; {said}")


def make_agent(name: str, **options: Any) -> Agent:
    """Return an agent by id, built with ``options``.

    Raises:
        UnknownIdError: for an unknown id.
        TypeError: for an option that the agent doesn't have; the message lists those it has.
        ValueError: for an option of the wrong type or out of range.
    """
    return build_agent(f"agent {name!r}", agent_class(name), options)


def build_agent(who: str, cls: type[Agent], options: Mapping[str, Any]) -> Agent:
    """Return an agent of a class, its options checked against the class's annotations.

    Args:
        who: begins error messages.
        cls: its class.
        options: what its constructor is given.

    Raises:
        TypeError: for an option that the class doesn't have; the message lists those it has.
        ValueError: for an option of the wrong type or out of range.
    """
    from wirelessgym.options import check_options

    parameters = inspect.signature(cls).parameters
    catches_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if not catches_all and (unknown := sorted(set(options) - set(parameters))):
        raise TypeError(f"{who} has no option {unknown[0]!r}; it has: {', '.join(parameters) or 'none'}")
    try:
        check_options(who, cls, options)
    except ValueError as error:
        with suppress(TypeError, AttributeError):  # what a constructor does with a wrong type
            cls(**options)  # its own words, where it has some, say more
        raise ValueError(str(error).replace("input should be", "expected")) from None
    try:
        return cls(**options)
    except TypeError as error:
        raise TypeError(f"{who}: {error}") from error


def agents_for(task: str | Sequence[str], *, unasked: bool = False, own: bool = False) -> list[str]:
    """Return the ids of the agents that do a task, in alphabetical order (imports them).

    Args:
        task: task id, or the ids of its family (`TaskSpec.family`).
        unasked: leave out those that take part only when named (`Agent.only_when_named`).
        own: leave out, and don't import, those of other packages.
    """
    classes = {name: agent_class(name) for name in (own_ids if own else ids)("agents")}
    family = {task} if isinstance(task, str) else set(task)
    doing = {name: cls for name, cls in classes.items() if not cls.tasks or not family.isdisjoint(cls.tasks)}
    return [name for name, cls in doing.items() if not (unasked and cls.only_when_named)]
