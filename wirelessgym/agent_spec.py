"""Agent specs: what a caller names or hands over, as agents with unique names that any process can make."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import pickle
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from wirelessgym.agent import Agent, CallableAgent, ModuleAgent, NumpyAgent, StableBaselinesAgent, as_agent
from wirelessgym.registry import agents_for, ids, make_agent
from wirelessgym.scenario import parse_assignment

RESERVED = ("bound",)


@dataclass(frozen=True)
class AgentSpec:
    """An agent of a comparison.

    Attributes:
        name: unique name.
        spec: what names it on a command line (``zf``, ``wmmse:iterations=50``, ``my_module:MyAgent``); for an object
            without such a name, the class or function that it is.
        named: whether ``spec`` is enough to make it again.
        options: its options, as far as JSON can hold them.
        parameters: trainable parameters.
        pickled: the agent, for a worker.
        digest: differs between agents that differ in options or code.
    """

    name: str
    spec: str
    named: bool
    options: dict[str, Any]
    parameters: int
    pickled: bytes
    digest: str

    def make(self) -> Agent:
        """Return the agent, untouched by earlier use."""
        agent: Agent = cloudpickle.loads(self.pickled)
        return agent


def agent_specs(agents: object, family: Sequence[str]) -> list[AgentSpec]:
    """Build the agents of a comparison.

    Args:
        agents: registry ids (with options as ``wmmse:iterations=50``), ``module:name``, or anything that
            `wirelessgym.as_agent` takes, in a list or one alone; None for every registered agent that does the task, but
            for those that want to be named (`Agent.only_when_named`).
        family: the task's id, then those of the tasks that it extends (`TaskSpec.family`).

    Raises:
        UnknownIdError: for an unknown id.
        ImportError: for a module or a name in it that isn't there.
        ValueError: for no agents, or an agent that doesn't do the task.
        TypeError: for something that can't act or can't be pickled, or a wrong option.
    """
    wanted: list[object] = [agents]
    if agents is None:
        wanted = list(agents_for(family, unasked=True))
    elif isinstance(agents, Sequence) and not isinstance(agents, str):
        wanted = list(agents)
    if not wanted:
        raise ValueError(f"{family[0]}: no agents to compare")
    specs = [agent_spec(agent) for agent in wanted]
    for spec in specs:
        if not (agent := spec.make()).does(family):
            raise ValueError(f"agent {spec.name!r} doesn't do {family[0]}; it does: {', '.join(agent.tasks)}")
    return unique(specs)


def unique(specs: Iterable[AgentSpec]) -> list[AgentSpec]:
    """Rename the second agent called ``x`` to ``x-2``, and so on; ``bound`` is a row of every table."""
    taken: dict[str, AgentSpec] = {}
    for spec in specs:
        name, count = spec.name, 1
        while name in taken or name in RESERVED:
            count += 1
            name = f"{spec.name}-{count}"
        taken[name] = replace(spec, name=name)
    return list(taken.values())


def agent_spec(thing: object) -> AgentSpec:
    """Return one agent, which may be anything that `agent_specs` takes in its list."""
    if isinstance(thing, str):
        agent, named, spec = named_agent(thing), True, thing
    else:
        agent, named = as_agent(thing), False
        spec = _spec(agent)
        if registered := _registered(agent):
            named, spec = True, registered
    try:
        pickled: bytes = cloudpickle.dumps(agent)
    except (TypeError, pickle.PicklingError) as error:
        raise TypeError(f"agent {agent.name!r} can't be copied, as a comparison needs: {error}") from error
    options = _options(agent)
    contents = agent.fingerprint if named else hashlib.sha256(pickled).hexdigest()
    parts = [spec, options, contents, source_digest(_inner(agent))]
    return AgentSpec(
        name=agent.name,
        spec=spec,
        named=named,
        options=options,
        parameters=agent.num_parameters,
        pickled=pickled,
        digest=hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest(),
    )


def named_agent(text: str) -> Agent:
    """Make an agent from its name on a command line: ``zf``, ``wmmse:iterations=50``, ``my_module:MyAgent:depth=3``.

    Raises:
        UnknownIdError: for an unknown id.
        ImportError: for a module or a name in it that isn't there.
        TypeError: for an option that the agent doesn't have.
    """
    parts = text.split(":")
    names = [part for part in parts if "=" not in part]
    options = dict(parse_assignment(part) for part in parts if "=" in part)
    if len(names) == 1:
        return make_agent(names[0], **options)
    if len(names) != 2:
        raise ValueError(f"expected an agent as id:option=value or module:name:option=value, got {text!r}")
    module_name, attribute = names
    module = imported(module_name)
    if attribute not in vars(module):
        raise ImportError(f"module {module_name!r} has no {attribute!r}")
    found = vars(module)[attribute]
    if not inspect.isclass(found):
        return as_agent(found)
    try:
        return as_agent(found(**options))
    except TypeError as error:
        raise TypeError(f"agent {text!r}: {error}") from error


def imported(module_name: str) -> ModuleType:
    """Import somebody's module.

    Raises:
        ImportError: if it isn't there, or raises while it is imported; the message says what and where.
    """
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name.partition(".")[0] or error.name == module_name:
            raise ImportError(f"no module is called {module_name!r}, in the current folder or among the packages") from error
        raise ImportError(f"module {module_name!r} can't be imported: {error}") from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if isinstance(error, SyntaxError) else f" ({Path(last.filename).name}, line {last.lineno})"
        raise ImportError(f"module {module_name!r} can't be imported: {type(error).__name__}: {error}{where}") from error


def _registered(agent: Agent) -> str | None:
    """How a command line names an agent of the registry with these options."""
    name = vars(type(agent)).get("id")
    if name not in ids("agents") or not is_dataclass(agent):
        return None
    changed = {f.name: value for f in fields(agent) if f.init and (value := getattr(agent, f.name)) != f.default}
    if not all(isinstance(value, int | float | str | bool) for value in changed.values()):
        return None
    untouched: Agent = type(agent)(**{f.name: getattr(agent, f.name) for f in fields(agent) if f.init})
    if agent.fingerprint != untouched.fingerprint:
        return None  # trained since it was made
    return ":".join([name, *(f"{key}={json.dumps(value)}" for key, value in changed.items())])


def _spec(agent: Agent) -> str:
    inner = _inner(agent)
    owner = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{owner.__module__}:{owner.__qualname__}"


def _inner(agent: Agent) -> object:
    match agent:
        case CallableAgent() | NumpyAgent():
            return agent.function
        case ModuleAgent():
            return agent.module
        case StableBaselinesAgent():
            return agent.policy
        case _:
            return agent


def _options(agent: Agent) -> dict[str, Any]:
    if _inner(agent) is not agent or not is_dataclass(agent):
        return {}
    return {f.name: _plain(getattr(agent, f.name)) for f in fields(agent) if f.init}


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return type(value).__name__


def source_digest(thing: object) -> str:
    """Digest of the file that defines a class or function, or an object's class.

    Pickles name classes and leave their code out, so this is what tells an edited one from its former self.
    """
    owner = thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing)
    try:
        path = inspect.getsourcefile(owner)
        text = "" if path is None else Path(path).read_text(encoding="utf-8")
    except (TypeError, OSError):  # built-in, or defined at a prompt
        text = ""
    return hashlib.sha256(text.encode()).hexdigest()
