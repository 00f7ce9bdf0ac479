"""The task protocol: one physical-layer problem as pure, batched torch functions.

A task holds no episode. ``reset`` draws episodes, ``score`` rates an action, ``advance`` moves time on by returning the next
state, and ``step`` does both. Episode n of seed s is a pure function of (task, scenario, s, n), whatever the batch it is drawn in
and whatever ran before. What an agent does may change the next state, where the task is closed-loop, but never the random numbers
of the episode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from wirelessgym.fields import Action, Field, Obs, Rows
from wirelessgym.metrics import Metric
from wirelessgym.options import check_options
from wirelessgym.scenario import Scenario
from wirelessgym.spec import TaskSpec


@dataclass(frozen=True)
class Step:
    """What one step returns.

    Attributes:
        obs: the next observation, batch axis first.
        reward: shape (batch,), float32, in the unit of the task's headline metric (negated where smaller is better).
        terminated: whether the episode has ended before the horizon, shape (batch,), bool.
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
    open_loop: ClassVar[bool] = True  # whether no action changes what comes, so that agents may share one trajectory
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
        check_options(self.id, type(self), self.options)

    @cached_property
    def spec(self) -> TaskSpec:
        """What agents may know of this task."""
        return TaskSpec(
            id=self.id,
            family=self.family,
            purpose=self.purpose,
            scenario=self.scenario,
            options=self.options,
            observation_fields=self.observation_fields,
            action_fields=self.action_fields,
            metrics=self.metrics,
            horizon=self.horizon,
            open_loop=self.open_loop,
            channel_size=self.channel_size,
            context=self.context,
        )

    @property
    def options(self) -> dict[str, Any]:
        """The task's own options."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "scenario"}

    @property
    def family(self) -> tuple[str, ...]:
        """The task's id, then those of the tasks that its class extends."""
        return tuple(dict.fromkeys(cls.id for cls in type(self).__mro__ if issubclass(cls, Task) and hasattr(cls, "id")))

    @property
    def context(self) -> Mapping[str, Any]:
        """What is the same in every episode and too large for observations, by name; see `TaskSpec`."""
        return {}

    @property
    def seconds_per_step(self) -> float:
        """Core seconds of one episode's step beyond what sizes tell, for estimates: 0, unless a task simulates at length."""
        return 0.0

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
            TypeError: for a state that is none, or an action of the wrong kind.
            ValueError: for an action of wrong shape or with NaN; the message names the entry and the row.
        """

    @abstractmethod
    def advance(self, state: Any, action: Action | None = None) -> tuple[Any, Obs]:
        """Move time on by one step: return the next state and its observation.

        Where the task is open-loop the action changes nothing and may be left out. Whatever the action, the randomness of the
        next state is a function of the episode and its time alone, so that all agents meet the same fading, arrivals and coins.
        """

    @property
    def ends_early(self) -> bool:
        """Whether an episode may end before the horizon: whether the class has a `terminated` of its own."""
        return type(self).terminated is not Task.terminated

    def terminated(self, state: Any) -> Tensor:
        """Which episodes end at this state before the horizon, shape (batch,), bool: none, unless a task says otherwise."""
        return torch.zeros_like(state.episode, dtype=torch.bool)

    def step(self, state: Any, action: Action) -> tuple[Any, Step]:
        """Score ``action`` at ``state`` and move on; raises what `score` raises. Reward: the headline metric, more is better."""
        self.check_state(state)
        metrics = self.score(state, action)
        state, obs = self.advance(state, action)
        return state, Step(obs, self.reward(metrics), self.terminated(state), metrics)

    def reward(self, metrics: Mapping[str, Tensor]) -> Tensor:
        """The headline metric, with its sign turned where less is better, shape (batch,)."""
        headline = metrics[self.headline.name]
        return headline if self.headline.higher_is_better else -headline

    def bound_metrics(self, state: Any) -> dict[str, Tensor]:
        """What the best known receiver or transmitter would reach at this state's step, genie-aided if need be.

        Not for agents: it reads the true state.

        Returns:
            A subset of ``step.metrics`` (with the two sums of the headline metric, if it is a ratio); empty if nothing is known.
        """
        return {}

    def bound(self, state: Any) -> Tensor | None:
        """Value of the headline metric that no policy exceeds at this state's step, shape (batch,), or None. Not for agents."""
        return self.bound_metrics(state).get(self.headline.name)

    @abstractmethod
    def render(self, state: Any, action: Action | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Draw row 0 (with the last ``action``, when there is one) as an image, shape (height, width, 3), uint8."""

    def check_state(self, state: object) -> None:
        """Refuse what is no state; raises TypeError."""
        if not isinstance(state, State):
            raise TypeError(f"{self.id}: state: expected what reset or step returned, got {type(state).__name__}")

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
