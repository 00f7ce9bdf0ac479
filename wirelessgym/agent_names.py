"""Agents by what a command line or a configuration calls them: ``zf``, ``wmmse:iterations=50``, ``my_module:MyAgent``."""

from __future__ import annotations

import importlib
import inspect
import traceback
from pathlib import Path
from types import ModuleType

from wirelessgym.agent import Agent, as_agent
from wirelessgym.learned import LearnedAgent
from wirelessgym.registry import agent_class, build_agent, make_agent
from wirelessgym.scenario import parse_assignment


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
    found = _attribute(*names)
    if not inspect.isclass(found):
        if options:
            raise TypeError(f"agent {text!r}: {names[1]} is no class, so it takes no options, got {', '.join(options)}")
        return as_agent(found)
    if issubclass(found, Agent):
        return build_agent(f"agent {text!r}", found, options)
    try:
        return as_agent(found(**options))
    except TypeError as error:
        raise TypeError(f"agent {text!r}: {error}") from error


def learned_class(name: str) -> type[LearnedAgent]:
    """Return the class of an agent that can be trained, by its id or as ``module:name``.

    Raises:
        UnknownIdError: for an unknown id.
        ImportError: for a module or a name in it that isn't there.
        TypeError: for anything but a class of `LearnedAgent`.
    """
    found = _attribute(*name.split(":", 1)) if ":" in name else agent_class(name)
    if not (inspect.isclass(found) and issubclass(found, LearnedAgent)):
        raise TypeError(f"agent {name!r} has no weights to train; expected a class of LearnedAgent, got {found!r}")
    return found


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


def _attribute(module_name: str, attribute: str) -> object:
    module = imported(module_name)
    if attribute not in vars(module):
        raise ImportError(f"module {module_name!r} has no {attribute!r}")
    return vars(module)[attribute]
