"""The task protocol: one physical-layer problem as pure, batched torch functions.

A task holds no episode. ``reset`` draws episodes, ``score`` rates an action, ``advance`` moves time on by returning the next
state, and ``step`` does both. Episode n of seed s is a pure function of (task, scenario, s, n): it doesn't depend on the batch
it is drawn in, on what ran before, or on the agent's actions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from wirelessgym.fields import Action, Field, Obs, Rows
from wirelessgym.metrics import Metric
from wirelessgym.options import check_options
from wirelessgym.scenario import Scenario


@dataclass(frozen=True)
class Step:
    """What one step returns.

    Attributes:
        obs: the next observation, batch axis first.
        reward: shape (batch,), float32, in the unit of the task's headline metric (negated where smaller is better).
        terminated: shape (batch,), bool; the tasks here never terminate early, the horizon truncates.
        metrics: name to tensor of shape (batch,) or (batch, n); for metrics that are ratios of sums, also the two sums.
    """

    obs: Obs
    reward: Tensor
    terminated: Tensor
    metrics: dict[str, Tensor]


@dataclass(frozen=True)
class State(Rows):
    """What every task's state has; each task adds its own entries.

    Attributes:
        seed: seed of each row's episode, shape (batch,), int64.
        episode: number of each row's episode, shape (batch,), int64.
        time_step: steps taken since reset, shape (batch,), int64.
    """

    seed: Tensor
    episode: Tensor
    time_step: Tensor


@dataclass(frozen=True)
class Showcase:
    """A comparison that shows what a task is about: small enough for a laptop, large enough that the agents differ.

    Attributes:
        sweep: the swept field and its values, as in `wirelessgym.compare`.
        reference: id of the agent that the others are compared with.
        episodes: how many.
        scenario: scenario id.
        overrides: options of the task and fields of the scenario.
    """

    sweep: str
    reference: str
    episodes: int = 128
    scenario: str = "uma-nlos-32"
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task(ABC):
    """One physical-layer problem in one scenario.

    Subclasses are frozen dataclasses: ``scenario`` and the task's own options are their fields, so two tasks are equal when
    their settings are. An option's annotation says what it accepts: ``slots: Annotated[int, Field(ge=1, le=9)] = 4``.
    """

    scenario: Scenario

    id: ClassVar[str]
    default_scenario: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]  # the first is the headline
    differentiable: ClassVar[bool]
    bound_varies: ClassVar[bool] = True  # whether the bound differs from step to step of an episode
    fallback_agent: ClassVar[str] = "random"  # id of the agent whose action replaces one that misses a deadline
    showcase: ClassVar[Showcase | None] = None  # what the demo shows of it; None leaves it out

    def __post_init__(self) -> None:
        """Refuse options of the wrong type or out of range, as their annotations say.

        Raises:
            ValueError: naming the task, the option, what is allowed and what came.
            TypeError: for a scenario that is none.
        """
        if not isinstance(self.scenario, Scenario):
            raise TypeError(f"{self.id}: scenario: expected a Scenario, got {type(self.scenario).__name__}; see load_scenario")
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "scenario"}
        check_options(self.id, type(self), options)

    @property
    def horizon(self) -> int:
        """Steps of an episode."""
        return self.scenario.horizon

    @property
    def headline(self) -> Metric:
        """The metric that tables are sorted by, `bound` bounds and rewards are made of."""
        return self.metrics[0]

    @property
    def purpose(self) -> str:
        """What is asked for: the first clause of the class's docstring, or what the headline metric asks where there is none."""
        written = (type(self).__doc__ or "").strip()
        if written and not written.startswith(f"{type(self).__name__}("):  # what dataclasses write by themselves
            return " ".join(written.split("\n\n")[0].split()).partition(". ")[0].partition(";")[0].rstrip(".")
        return f"Make {self.headline.name} {'large' if self.headline.higher_is_better else 'small'}"

    @property
    def channel_size(self) -> tuple[int, int]:
        """How many users and subcarriers of the scenario the task uses."""
        channel = getattr(self, "channel", None)
        if channel is None:
            return self.scenario.max_users, self.scenario.num_subcarriers
        return channel.num_users, channel.grid.num_subcarriers

    @property
    @abstractmethod
    def observation_fields(self) -> tuple[Field, ...]:
        """Entries of an observation, in order."""

    @property
    @abstractmethod
    def action_fields(self) -> tuple[Field, ...]:
        """Entries of an action. With one entry, an action is that tensor; with several, a dict of them."""

    @abstractmethod
    def reset(self, episodes: Sequence[int], seed: int | Sequence[int] = 0) -> tuple[Any, Obs]:
        """Draw episodes.

        Args:
            episodes: number of each row's episode, at least 0.
            seed: one seed for all rows, or one for each row.

        Returns:
            The state and the first observation of every row.
        """

    @abstractmethod
    def score(self, state: Any, action: Action) -> dict[str, Tensor]:
        """Return the metrics of an action at a state. Deterministic; keeps gradients if `differentiable`.

        Raises:
            TypeError: for an action of the wrong kind.
            ValueError: for an action of wrong shape or with NaN; the message names the entry and the row.
        """

    @abstractmethod
    def advance(self, state: Any) -> tuple[Any, Obs]:
        """Move time on by one step: return the next state and its observation. No action changes what comes."""

    def terminated(self, state: Any) -> Tensor:
        """Which episodes end at this state before the horizon, shape (batch,), bool: none, unless a task says otherwise."""
        return torch.zeros_like(state.episode, dtype=torch.bool)

    def step(self, state: Any, action: Action) -> tuple[Any, Step]:
        """Score ``action`` at ``state`` and move on; raises what `score` raises. Reward: the headline metric, more is better.

        Raises:
            TypeError: for a state that is none.
        """
        if not isinstance(state, State):
            raise TypeError(f"{self.id}: state: expected what reset or step returned, got {type(state).__name__}")
        metrics = self.score(state, action)
        headline = metrics[self.headline.name]
        state, obs = self.advance(state)
        reward = headline if self.headline.higher_is_better else -headline
        return state, Step(obs, reward, self.terminated(state), metrics)

    def bound_metrics(self, state: Any) -> dict[str, Tensor]:
        """What the best known receiver or transmitter would reach at this state's step, genie-aided if need be.

        Not for agents: it reads the true state.

        Returns:
            A subset of ``step.metrics`` (with the two sums of the headline metric, if it is a ratio); empty if nothing is known.
        """
        return {}

    def bound(self, state: Any) -> Tensor | None:
        """Best known value of the headline metric at this state's step, shape (batch,), or None. Not for agents."""
        return self.bound_metrics(state).get(self.headline.name)

    @abstractmethod
    def render(self, state: Any, action: Action | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Draw row 0 (with the last ``action``, when there is one) as an image, shape (height, width, 3), uint8."""

    def check_action(self, action: Action, batch: int) -> dict[str, Tensor]:
        """Return the action as a dict of checked tensors; see `Field.check` for what is refused."""
        wanted = self.action_fields
        if not isinstance(action, dict):
            if len(wanted) > 1:
                raise TypeError(f"action: expected a dict with {[f.name for f in wanted]}, got {type(action).__name__}")
            return {wanted[0].name: wanted[0].check(action, batch)}
        if missing := [f.name for f in wanted if f.name not in action]:
            raise ValueError(f"action: missing {missing}, got {sorted(action)}")
        return {f.name: f.check(action[f.name], batch) for f in wanted}

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings only: channels are built again where they are needed."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __setstate__(self, settings: dict[str, Any]) -> None:
        for name, value in settings.items():
            object.__setattr__(self, name, value)


def rollout(task: Task, act: Callable[[Obs], Action], state: Any, obs: Obs) -> dict[str, Tensor]:
    """Play whole episodes from ``(state, obs)`` and return every metric.

    Returns:
        Metric name to tensor of shape (batch, horizon) or (batch, horizon, n).
    """
    steps: list[dict[str, Tensor]] = []
    for _ in range(task.horizon):
        state, step = task.step(state, act(obs))
        obs = step.obs
        steps.append(step.metrics)
    return {name: torch.stack([metrics[name] for metrics in steps], 1) for name in steps[0]}
