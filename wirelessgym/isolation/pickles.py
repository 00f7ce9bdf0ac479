"""Agents that a caller hands over as objects, as bytes that another process reads."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle

from wirelessgym.agent import Agent, as_agent
from wirelessgym.agent_spec import inner_of

_LIBRARIES = {"torch", "numpy", "scipy", "sionna", "transformers", "tokenizers", "peft", "accelerate", "bitsandbytes"}
_TRUSTED = frozenset({"wirelessgym"} | _LIBRARIES | (sys.stdlib_module_names - {"__main__"}))


def pickled_agent(thing: object) -> bytes:
    """Return whatever `as_agent` takes as bytes; code that only this process could import comes along.

    Classes stay classes: what their constructors do is done where the agent is made.

    Raises:
        TypeError: for what is no agent, or can't be pickled.
    """
    agent = thing if isinstance(thing, type) and issubclass(thing, Agent) else as_agent(thing)
    alone = [module for module in _homes(agent) if not _importable(module)]
    for module in alone:
        cloudpickle.register_pickle_by_value(module)
    try:
        pickled: bytes = cloudpickle.dumps(agent)
    except (TypeError, pickle.PicklingError) as error:
        raise TypeError(f"agent {label(agent).rpartition(':')[2]!r} can't be copied, as a comparison needs: {error}") from error
    finally:
        for module in alone:
            cloudpickle.unregister_pickle_by_value(module)
    return pickled


def carries_foreign_code(agent: object, family: Sequence[str]) -> bool:
    """Whether an agent, whatever its own class, brings classes or functions from elsewhere: a head, an attribute, a hook.

    Args:
        agent: the agent.
        family: the task's id, then those of the tasks that it extends: what other packages add for other tasks stays away.
    """
    if isinstance(agent, type):
        return False
    if not set(family).isdisjoint(getattr(agent, "foreign_tasks", ())):  # their heads are imported when the agent acts
        return True
    with Path(os.devnull).open("wb") as nowhere:
        seeker = _CodeSeeker(nowhere)
        with suppress(TypeError, pickle.PicklingError):  # reported when the agent is pickled to be played
            seeker.dump(agent)
    return seeker.found


class _CodeSeeker(cloudpickle.Pickler):  # type: ignore[misc]
    """Looks at all that a pickle would hold."""

    found = False

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType):
            home = str(obj.__module__)
            there: Any = sys.modules.get(home)
            for part in obj.__qualname__.split("."):
                there = getattr(there, part, None)
            self.found |= home.partition(".")[0] not in _TRUSTED or there is not obj
        return super().reducer_override(obj)


def label(thing: object) -> str:
    """The module and name of what somebody wrote: the class, or the function."""
    inner = inner_of(thing)
    owner = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{owner.__module__}:{owner.__qualname__.rpartition('.')[2]}"


def _homes(agent: object) -> list[ModuleType]:
    """The modules that an agent's class, what it wraps and their base classes are defined in."""
    inner = inner_of(agent)
    classes = [base for thing in (agent, inner) for base in (thing if isinstance(thing, type) else type(thing)).__mro__]
    names = dict.fromkeys([getattr(inner, "__module__", ""), *(cls.__module__ for cls in classes)])
    return [sys.modules[name] for name in names if name in sys.modules and name != "__main__"]


def _importable(module: ModuleType) -> bool:
    """Whether a fresh interpreter with the same path would find this module under its name."""
    path: Any = None
    parts = module.__name__.split(".")
    for depth in range(1, len(parts) + 1):
        finders = (finder.find_spec(".".join(parts[:depth]), path) for finder in sys.meta_path)
        found = next((spec for spec in finders if spec is not None), None)
        if found is None:
            return False
        path = found.submodule_search_locations
    return found is not None and found.origin in ("built-in", "frozen", getattr(module, "__file__", None))
