"""Agents: whatever maps a batch of observations to a batch of actions.

`Agent` is the protocol; `as_agent` accepts plain callables, numpy functions, torch modules and Stable-Baselines3 models too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from wirelessgym.fields import Action, Obs, to_complex, to_real
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

Training: TypeAlias = Literal["none", "fitted", "network"]


class Agent(ABC):
    """Acts on batches of observations.

    An agent sees the task's spec and the observation, never the state (unless it is a genie). Agents that keep memory over the
    steps of an episode clear it in `reset`.

    Attributes:
        training: what it learned from other episodes: ``"none"``, also for two or three constants tuned by hand; ``"fitted"``,
            statistics such as a mixture or a table; ``"network"``, weights trained by gradients.
    """

    tasks: ClassVar[tuple[str, ...]] = ()  # ids of the tasks it can do; empty: any
    only_when_named: ClassVar[bool] = False  # whether it takes part only when asked for: its cost explodes, or it needs training
    needs_state: ClassVar[bool] = False  # whether it is a genie, which sees the true state: a yardstick, no rival
    training: ClassVar[Training] = "none"

    @abstractmethod
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return actions for a batch of observations (batch axis first, complex stays complex)."""

    def act_on_state(self, task: Task, state: Any, obs: Obs) -> Action:
        """Return actions of a genie that knows the true state; called instead of `act` where ``needs_state`` is set."""
        raise NotImplementedError(f"{self.name}: an agent with needs_state acts in act_on_state")

    def does(self, family: Sequence[str]) -> bool:
        """Whether it does a task, or one that the task extends; ``family`` is `TaskSpec.family`."""
        return not self.tasks or not set(family).isdisjoint(self.tasks)

    def reset(self, batch: int) -> None:  # noqa: B027 (most agents keep nothing to forget)
        """Forget everything; ``batch`` episodes begin."""

    @property
    def name(self) -> str:
        """Name in tables and records: the id where the registry has it, else the class's name."""
        return agent_id(type(self)) or type(self).__name__

    @property
    def trained_as(self) -> Training | None:
        """`training` as it holds for this object; None where nobody can tell, as for a plain function."""
        return type(self).training  # not the flag of the same name that a torch module sets

    @property
    def num_parameters(self) -> int:
        """Number of trainable parameters (0 for formulas)."""
        return 0

    @property
    def fingerprint(self) -> str:
        """Tells apart agents with equal options: a digest of the weights, empty for formulas."""
        return ""


@cache
def agent_id(cls: type[Agent]) -> str | None:
    """Return the id that the registry has an agent's class under, None for classes that it doesn't have.

    It follows from where the class is defined, so it's the same before and after the registry was asked, and in every process. A
    class attribute ``id`` comes first.
    """
    if isinstance(own := getattr(cls, "id", None), str):
        return own
    home, _, module = cls.__module__.rpartition(".")
    if home == "wirelessgym.agents":
        return module
    for point in entry_points(group="wirelessgym.agents"):
        same_package = point.module.partition(".")[0] == cls.__module__.partition(".")[0]
        if same_package and point.attr == cls.__qualname__ and point.load() is cls:
            return point.name
    return None


@dataclass
class CallableAgent(Agent):
    """Wraps ``f(obs) -> action``; an array that comes back is taken as a tensor."""

    function: Callable[[Obs], Any]
    title: str

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Call the function."""
        return _as_tensors(self.function(obs))

    @property
    def trained_as(self) -> None:
        """Unknown: a function may hide anything."""
        return None

    @property
    def name(self) -> str:
        """The function's own name."""
        return self.title


@dataclass
class NumpyAgent(Agent):
    """Wraps a function that wants numpy arrays: complex64, batch axis first; texts as tuples of strings."""

    function: Callable[[dict[str, np.ndarray[Any, Any]]], Any]
    title: str

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Call the function on arrays that share the observation's memory."""
        return _as_tensors(self.function({key: _as_array(value) for key, value in obs.items()}))

    @property
    def trained_as(self) -> None:
        """Unknown: a function may hide anything."""
        return None

    @property
    def name(self) -> str:
        """The function's own name."""
        return self.title


@dataclass
class ModuleAgent(Agent):
    """Wraps a ``torch.nn.Module`` whose ``forward(obs)`` returns an action."""

    module: torch.nn.Module
    training: ClassVar[Training] = "network"

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Run the module in evaluation mode, without gradients."""
        training = self.module.training
        self.module.eval()
        with torch.no_grad():
            action: Action = self.module(obs)
        self.module.train(training)
        return action

    @property
    def name(self) -> str:
        """The module's class."""
        return type(self.module).__name__

    @property
    def num_parameters(self) -> int:
        """Trainable parameters of the module."""
        return sum(p.numel() for p in self.module.parameters() if p.requires_grad)


@dataclass
class StableBaselinesAgent(Agent):
    """Wraps the policy of a Stable-Baselines3 model trained on the Gymnasium view (float32 with a trailing (re, im) axis).

    The policy alone: a model also holds its environment, schedules and callbacks, which other processes can't be sent.
    """

    policy: Any
    title: str
    training: ClassVar[Training] = "network"

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Predict deterministically."""
        seen = self._as_trained(obs)
        action, _ = self.policy.predict(seen, deterministic=True)
        (field,) = task.action_fields
        return to_complex(torch.as_tensor(np.asarray(action)), field)

    def _as_trained(self, obs: Obs) -> Any:
        """Observations as the policy knows them: a dict of arrays, or one row of numbers from Gymnasium's FlattenObservation."""
        arrays = {key: to_real(value).numpy() for key, value in obs.items() if isinstance(value, Tensor)}
        space = self.policy.observation_space
        spaces = getattr(space, "spaces", None)
        if spaces is None:
            flat = np.concatenate([arrays[key].reshape(len(arrays[key]), -1) for key in sorted(arrays)], 1, dtype=np.float32)
            if flat.shape[1:] != space.shape:
                raise ValueError(
                    f"{self.title} was trained on observations of {space.shape} numbers, this task's flatten to {flat.shape[1:]};"
                    " act on the task and settings of its training"
                )
            return flat
        if missing := sorted(set(spaces) - set(arrays)):
            raise ValueError(
                f"{self.title} was trained on observations with {missing[0]!r}, this task's have {', '.join(obs)}; "
                "act on the task and settings of its training"
            )
        # Shaped as in training: entries that were scalars may have got an axis of one.
        return {key: arrays[key].reshape(-1, *space.shape) for key, space in spaces.items()}

    @property
    def name(self) -> str:
        """The algorithm's class."""
        return self.title

    @property
    def num_parameters(self) -> int:
        """Trainable parameters of the policy."""
        return sum(p.numel() for p in self.policy.parameters() if p.requires_grad)


def numpy_agent(function: Callable[[dict[str, np.ndarray[Any, Any]]], Any], name: str | None = None) -> Agent:
    """Wrap a function that maps numpy observations to a numpy action."""
    return NumpyAgent(function, name or str(getattr(function, "__name__", "numpy function")))


def as_agent(thing: object) -> Agent:
    """Return ``thing`` as an `Agent`.

    Accepted: an `Agent` (or a class of one that needs no arguments), a ``torch.nn.Module``, a Stable-Baselines3 model (anything
    with ``predict`` and ``policy``), and any callable ``f(obs) -> action``. Callables get torch tensors and may return arrays;
    wrap those that need numpy input in `numpy_agent`.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(thing, Agent):
        return thing
    if isinstance(thing, type) and issubclass(thing, Agent):
        return thing()
    if isinstance(thing, torch.nn.Module):
        return ModuleAgent(thing)
    policy = getattr(thing, "policy", None)
    if policy is not None and callable(getattr(thing, "predict", None)):
        return StableBaselinesAgent(policy, type(thing).__name__)
    if callable(thing):
        return CallableAgent(thing, getattr(thing, "__name__", type(thing).__name__))
    raise TypeError(
        f"expected an Agent, a callable f(obs) -> action, a torch.nn.Module or a Stable-Baselines3 model, "
        f"got {type(thing).__name__}"
    )


def _as_array(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else value


def _as_tensors(action: Any) -> Action:
    if isinstance(action, dict):
        return {key: _as_tensor(value) for key, value in action.items()}
    return _as_tensor(action)


def _as_tensor(value: Any) -> Tensor:
    try:
        return value if isinstance(value, Tensor) else torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):  # torch's own words name neither action nor type
        raise TypeError(f"action: expected a tensor or an array of numbers, got {type(value).__name__}") from None
