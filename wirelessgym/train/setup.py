"""What a run is made of: the agent that a configuration names, its optimiser, device, precision and threads."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import NoneType
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor

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
        # Only the agent's class knows which of these words stand for None.
        types = _types(type(_make(config, {key: value for key, value in options.items() if key not in words})))
        options = options | {key: None for key in words if NoneType in get_args(types.get(key))}
    return _make(config, options)


def trainable_parameters(agent: LearnedAgent, modules: Sequence[torch.nn.Module]) -> list[torch.nn.Parameter]:
    """Return what training changes; raises ValueError if that is nothing."""
    found = list({id(p): p for module in modules for p in module.parameters() if p.requires_grad}.values())
    if not found:
        raise ValueError(f"agent {agent.name!r} has no trainable weights")
    return found


def make_optimiser(parameters: Sequence[Tensor], config: Configuration) -> torch.optim.Optimizer:
    """AdamW; biases, norms and other vectors don't decay."""
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate)


@contextmanager
def accelerator(precision: str) -> Iterator[Any]:
    """An ``accelerate.Accelerator`` on the GPU if there is one, otherwise on the processor.

    Args:
        precision: ``"no"`` or ``"bf16"``.

    Raises:
        ImportError: without accelerate.
        ValueError: if several processes were launched: a run is one process.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError as error:
        raise ImportError(f"training needs accelerate: pip install 'wirelessgym[train]' ({error})") from None
    # accelerate keeps its settings for the life of the process, and refuses others: forget ours, but nobody else's.
    ours = not AcceleratorState._shared_state
    try:
        made = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=precision)
        if made.num_processes > 1:
            raise ValueError(f"training runs in one process, {made.num_processes} were launched")
        yield made
    finally:
        if ours:
            AcceleratorState._reset_state(reset_partial_state=True)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _types(agent: type[LearnedAgent]) -> dict[str, Any]:
    """Types of an agent's options; empty where they use names that are imported for type checkers only."""
    try:
        return get_type_hints(agent)
    except NameError:
        return {}


def _make(config: Configuration, given: dict[str, Any]) -> LearnedAgent:
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
