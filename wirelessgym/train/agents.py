"""The agent that a configuration names."""

from __future__ import annotations

import inspect
from types import NoneType
from typing import Any, get_args, get_type_hints

from wirelessgym.agent import Agent
from wirelessgym.agent_spec import imported
from wirelessgym.learned import LearnedAgent
from wirelessgym.registry import make_agent
from wirelessgym.train.config import NONE, Configuration


def configured_agent(config: Configuration) -> LearnedAgent:
    """Make the agent, with fresh weights of the configuration's seed unless its options have another, or a checkpoint.

    A checkpoint brings its own seed, which base weights may need that it doesn't hold.

    Raises:
        UnknownIdError: for an unknown id.
        ImportError: for a module or a name in it that isn't there.
        TypeError: for an agent that can't be trained, or an option that it doesn't have.
    """
    options = config.agent_options
    if words := {key for key, value in options.items() if value == NONE}:
        # Which of them stand for None, only the agent's class knows.
        types = _types(type(_made(config, {key: value for key, value in options.items() if key not in words})))
        options = options | {key: None for key in words if NoneType in get_args(types.get(key))}
    return _made(config, options)


def _types(agent: type[LearnedAgent]) -> dict[str, Any]:
    """Types of an agent's options; none where they have names that were imported for type checkers only."""
    try:
        return get_type_hints(agent)
    except NameError:
        return {}


def _made(config: Configuration, given: dict[str, Any]) -> LearnedAgent:
    options = {"checkpoint": None, **given}
    if options["checkpoint"] is None:
        options = {"seed": config.seed, **options}
    module_name, colon, attribute = config.agent.partition(":")
    if not colon:
        agent = _from_registry(config.agent, options, given)
    else:
        module = imported(module_name)
        if attribute not in vars(module):
            raise ImportError(f"module {module_name!r} has no {attribute!r}")
        found = vars(module)[attribute]
        if not (inspect.isclass(found) and issubclass(found, LearnedAgent)):
            raise TypeError(f"agent {config.agent!r}: expected a class of LearnedAgent, got {found!r}")
        try:
            agent = found(**options)
        except TypeError as error:
            raise TypeError(f"agent {config.agent!r}: {error}") from error
    if not isinstance(agent, LearnedAgent):
        raise TypeError(f"agent {config.agent!r} has no weights to train; expected a LearnedAgent")
    return agent


def _from_registry(name: str, options: dict[str, Any], given: dict[str, Any]) -> Agent:
    try:
        return make_agent(name, **options)
    except TypeError:
        formula = make_agent(name, **given)  # raises again for an option that isn't there
        if isinstance(formula, LearnedAgent):
            raise
        return formula
