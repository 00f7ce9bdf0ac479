"""Agent specs: what a caller names or hands over, as agents with unique names that any process can make."""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args

import cloudpickle

from wirelessgym.agent import Agent, CallableAgent, ModuleAgent, NumpyAgent, StableBaselinesAgent, Training, agent_id, as_agent
from wirelessgym.agent_names import named_agent
from wirelessgym.registry import agent_class, ids, own_ids

RESERVED = ("bound",)
LONGEST_NAME = 100
TRAININGS = (*get_args(Training), None)


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
        training: see `Agent.trained_as`.
        genie: whether it sees the true state (`Agent.needs_state`).
        tasks: ids of the tasks that it does; empty: any.
        own: whether it is the project's own; others play in processes of their own.
        source: the agent for a worker, pickled or by name.
        digest: differs between agents that differ in options or code.
        failure: how it failed before it could play, None if it didn't.
    """

    name: str
    spec: str
    named: bool
    options: dict[str, Any]
    parameters: int
    training: Training | None
    genie: bool
    tasks: tuple[str, ...]
    own: bool
    source: bytes | str
    digest: str
    failure: str | None = None

    def make(self) -> Agent:
        """Return one of the project's own agents, untouched by earlier use."""
        if not self.own or isinstance(self.source, str):
            raise TypeError(f"agent {self.name!r} isn't the project's own; it is made in a process of its own")
        agent: Agent = cloudpickle.loads(self.source)
        return agent


def is_own(thing: object) -> bool:
    """Whether an agent is one of the project's own: by its id, or by where its class is defined."""
    if isinstance(thing, str):
        names = [part for part in thing.split(":") if "=" not in part]
        return len(names) == 1 and names[0] in own_ids("agents")
    cls = thing if isinstance(thing, type) else type(thing)
    home = sys.modules.get(cls.__module__)
    return cls.__module__.startswith("wirelessgym.agents.") and getattr(home, cls.__qualname__, None) is cls


def own_spec(thing: object) -> AgentSpec:
    """Return one of the project's own agents, by name or as an object.

    Raises:
        TypeError: for one that can't be pickled, or a wrong option.
    """
    agent = named_agent(thing) if isinstance(thing, str) else as_agent(thing)
    try:
        pickled = cloudpickle.dumps(agent)
    except (TypeError, pickle.PicklingError) as error:
        raise TypeError(f"agent {agent.name!r} can't be copied, as a comparison needs: {error}") from error
    return described(description(agent), thing if isinstance(thing, str) else None, pickled, pickled, own=True)


def described(said: Mapping[str, Any], name: str | None, source: bytes | str, content: bytes, *, own: bool) -> AgentSpec:
    """Return an agent as it describes itself.

    Args:
        said: from `description`, perhaps in another process.
        name: what it was named by, None for an object.
        source: see `AgentSpec`.
        content: what tells an object from others with the same options: its pickle.
        own: see `AgentSpec`.

    Raises:
        ValueError: for a description that no table takes: a name that isn't 1 to 100 printable characters, and the like.
    """
    registered = said["registered"] if own or not is_own(said["registered"] or "") else None  # strangers say what they like
    spec = name or registered or said["spec"]
    check_description(spec, said)
    named = name is not None or registered is not None
    contents = said["fingerprint"] if named else hashlib.sha256(content).hexdigest()
    parts = [own, spec, said["options"], contents, said["source"]]
    return AgentSpec(
        name=said["name"],
        spec=spec,
        named=named,
        options=said["options"],
        parameters=said["parameters"],
        training=said["training"],
        genie=said["genie"],
        tasks=tuple(said["tasks"]),
        own=own,
        source=source,
        digest=hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest(),
    )


def description(agent: Agent) -> dict[str, Any]:
    """Say what a comparison has to know of an agent, in numbers and text."""
    return {
        "name": agent.name,
        "spec": _spec(agent),
        "registered": _registered(agent),
        "options": _options(agent),
        "parameters": agent.num_parameters,
        "training": agent.trained_as,
        "genie": agent.needs_state,
        "only_when_named": agent.only_when_named,
        "tasks": list(agent.tasks),
        "fingerprint": agent.fingerprint,
        "source": source_digest(inner_of(agent)),
    }


def check_description(spec: str, said: object) -> None:
    """Check what an agent says of itself: it may come from another process, where it may be anything.

    Args:
        spec: what the caller calls the agent.
        said: what should be from `description`.

    Raises:
        ValueError: for what isn't, or what no table takes; it says what was expected and what came.
    """

    def expect(what: str, right: bool, expected: str) -> None:
        if not right:
            raise ValueError(f"agent {spec!r}: {what}: expected {expected}, got {known.get(what, said)!r:.200}")

    known: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    missing = [key for key in _DESCRIBED if key not in known]
    expect("description", not missing, f"an entry for {', '.join(missing)}")
    for key, (kind, expected) in _DESCRIBED.items():
        expect(key, isinstance(known[key], kind), expected)
    name, parameters = known["name"], known["parameters"]
    expect("name", 0 < len(name) <= LONGEST_NAME and name.isprintable(), _DESCRIBED["name"][1])
    expect("spec", known["spec"].isprintable(), "printable characters")
    expect("registered", (known["registered"] or "").isprintable(), "printable characters")
    expect("parameters", type(parameters) is int and 0 <= parameters < 2**63, _DESCRIBED["parameters"][1])
    expect("training", known["training"] in TRAININGS, _DESCRIBED["training"][1])
    expect("tasks", all(isinstance(task, str) and task.isprintable() for task in known["tasks"]), _DESCRIBED["tasks"][1])
    expect("options", _is_plain(known["options"]), "numbers and text by name")


_DESCRIBED: Mapping[str, tuple[Any, str]] = {
    "name": (str, f"1 to {LONGEST_NAME} printable characters"),
    "spec": (str, "text"),
    "registered": (str | None, "text or None"),
    "options": (dict, "numbers and text by name"),
    "parameters": (int, "a number of weights"),
    "training": (str | None, "'none', 'fitted', 'network' or None"),
    "genie": (bool, "True or False"),
    "only_when_named": (bool, "True or False"),
    "tasks": (list, "ids of tasks"),
    "fingerprint": (str, "text"),
    "source": (str, "text"),
}


def _is_plain(value: object, depth: int = 0) -> bool:
    """Whether JSON and a file of UTF-8 can hold a value."""
    match value:
        case str():
            return not any("\ud800" <= c <= "\udfff" for c in value)
        case None | bool() | int() | float():
            return True
        case list() | dict() if depth < 20:
            parts = value if isinstance(value, list) else [*value, *value.values()]
            return all(_is_plain(part, depth + 1) for part in parts)
    return False


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


def _registered(agent: Agent) -> str | None:
    """How a command line names an agent of the registry with these options."""
    name = agent_id(type(agent))
    if name not in ids("agents") or agent_class(name) is not type(agent) or not is_dataclass(agent):
        return None
    changed = {f.name: value for f in fields(agent) if f.init and (value := getattr(agent, f.name)) != f.default}
    if not all(isinstance(value, int | float | str | bool) for value in changed.values()):
        return None
    untouched: Agent = type(agent)(**{f.name: getattr(agent, f.name) for f in fields(agent) if f.init})
    if agent.fingerprint != untouched.fingerprint:
        return None  # trained since it was made
    return ":".join([name, *(f"{key}={json.dumps(value)}" for key, value in changed.items())])


def _spec(agent: Agent) -> str:
    inner = inner_of(agent)
    owner = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{owner.__module__}:{owner.__qualname__}"


def inner_of(agent: object) -> object:
    """What somebody wrote: the function, module or policy that an adapter wraps, or the agent itself."""
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
    if inner_of(agent) is not agent or not is_dataclass(agent):
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
