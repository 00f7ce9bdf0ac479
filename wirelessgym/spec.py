"""What an agent may know of its task: an allow-list of settings, without the episodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from wirelessgym.fields import Field
from wirelessgym.metrics import Metric
from wirelessgym.scenario import Scenario


@dataclass(frozen=True)
class TaskSpec:
    """The settings of a task, as agents see them; a `Task` has the same names, so agents work with either.

    Nothing can be sampled or scored with it. It can be pickled, and written as JSON but for its context.

    Attributes:
        id: of the task.
        family: its id, then those of the tasks that its class extends: an agent that does one of them does this one.
        purpose: what is asked for, in words.
        scenario: the radio setting.
        options: the task's own options; each is an attribute, too: ``spec.modulation``.
        observation_fields: entries of an observation, in order.
        action_fields: entries of an action.
        metrics: what is measured; the first is the headline.
        horizon: steps of an episode, at most.
        open_loop: whether no action changes what comes.
        channel_size: how many users and subcarriers of the scenario the task uses.
        context: what is the same in every episode and too large for observations (a city's map), by name.
    """

    id: str
    family: tuple[str, ...]
    purpose: str
    scenario: Scenario
    options: Mapping[str, Any]
    observation_fields: tuple[Field, ...]
    action_fields: tuple[Field, ...]
    metrics: tuple[Metric, ...]
    horizon: int
    open_loop: bool
    channel_size: tuple[int, int]
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> Self:
        """Itself, as a task's `spec` is."""
        return self

    @property
    def headline(self) -> Metric:
        """The metric that tables are sorted by."""
        return self.metrics[0]

    def to_json(self) -> str:
        """Return everything but the context."""
        plain = {key: value for key, value in vars(self).items() if key not in ("context", "scenario")}
        plain |= {key: [asdict(entry) for entry in plain[key]] for key in _TABLES}
        return json.dumps(plain | {"options": dict(self.options), "scenario": self.scenario.model_dump(mode="json")})

    @classmethod
    def from_json(cls, text: str, context: Mapping[str, Any] | None = None) -> Self:
        """Undo `to_json`."""
        data: dict[str, Any] = json.loads(text)
        data |= {key: tuple(kind(**_as_tuples(entry)) for entry in data[key]) for key, kind in _TABLES.items()}
        data["scenario"] = Scenario.model_validate(data["scenario"])
        return cls(**_as_tuples(data), context=context or {})

    def __getattr__(self, name: str) -> Any:
        # Called for what isn't an attribute only; while a pickle is read there are no options yet.
        options = {} if name.startswith("_") else self.options
        if name in options:
            return options[name]
        raise AttributeError(
            f"agents see a task's settings and observations; {name!r} is out of their reach "
            f"(settings: {', '.join(['scenario', 'horizon', 'observation_fields', 'action_fields', *options])})"
        )


_TABLES: dict[str, type[Any]] = {"observation_fields": Field, "action_fields": Field, "metrics": Metric}


def _as_tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
