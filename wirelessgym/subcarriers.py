"""Several subcarriers: where they lie in a scenario's band, and how agents made for one subcarrier act on all of them.

Subcarriers are parallel channels. They are the first axis of the entries that a task's fields mark as ``per_subcarrier``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from wirelessgym.fields import Action, Field, Obs, num_rows, take
from wirelessgym.scenario import Scenario
from wirelessgym.spec import TaskSpec

Act = TypeVar("Act", bound=Callable[..., Action])


def tone_spacing_hz(scenario: Scenario, subcarriers: int) -> float:
    """Spacing at which ``subcarriers`` tones cover the scenario's band evenly: the band's width over their number.

    Tone i lies ``i - subcarriers // 2`` spacings above the carrier, as in Sionna, so that one of them is at the carrier. Where
    their number divides that of the scenario's subcarriers, each tone is one of those.
    """
    return scenario.subcarrier_spacing_hz * scenario.num_subcarriers / subcarriers


def require_subcarriers(task: str, scenario: Scenario, subcarriers: int) -> None:
    """Refuse more subcarriers than the scenario has.

    Raises:
        ValueError: if ``subcarriers`` is more than that.
    """
    if subcarriers > scenario.num_subcarriers:
        available = f"1 to the scenario's num_subcarriers, {scenario.num_subcarriers}"
        raise ValueError(f"{task}: subcarriers: allowed is {available}, got {subcarriers}")


def leading_axis(subcarriers: int) -> tuple[int, ...]:
    """The axis that several subcarriers put before an entry's shape; one has none."""
    return (subcarriers,) if subcarriers > 1 else ()


def subcarriers_first(h: Tensor) -> Tensor:
    """Move the subcarriers of ``h`` (batch, users, antennas, subcarriers) behind the batch; the axis of a single one goes."""
    return h[..., 0] if h.shape[-1] == 1 else h.movedim(-1, 1).contiguous()


def over_subcarriers(act: Act) -> Act:
    """Let a method ``act(self, task, obs)`` that was written for one subcarrier act on each of several by itself.

    It sees the task on a single subcarrier, with one row per episode and subcarrier and an equal share of what subcarriers share
    (the transmit power). An agent that splits its power otherwise does without this and sees the whole axis.
    """

    @wraps(act)
    def on_each(self: Any, task: TaskSpec, obs: Obs) -> Action:
        return unfold_subcarriers(task, act(self, *fold_subcarriers(task, obs)))

    return cast(Act, on_each)


def num_subcarriers(task: TaskSpec) -> int:
    """How many subcarriers lead the entries of the task's observations; 1 where none do."""
    return next((field.shape[0] for field in task.observation_fields if field.per_subcarrier), 1)


def one_subcarrier(task: TaskSpec) -> TaskSpec:
    """The task on a single subcarrier; a task without an axis of them as it is."""
    if num_subcarriers(task) == 1:
        return task
    return replace(
        task.spec,
        options={**task.options, "subcarriers": 1},
        observation_fields=tuple(map(_alone, task.observation_fields)),
        action_fields=tuple(map(_alone, task.action_fields)),
        channel_size=(task.channel_size[0], 1),
    )


def fold_subcarriers(task: TaskSpec, obs: Obs) -> tuple[TaskSpec, Obs]:
    """Return the task on a single subcarrier, and observations in which the subcarriers of a row are rows of their own."""
    count = num_subcarriers(task)
    if count == 1:
        return task, obs
    own = {field.name for field in task.observation_fields if field.per_subcarrier}
    rows = torch.arange(num_rows(obs)).repeat_interleave(count)
    folded = {key: value.flatten(0, 1) if key in own else take(value, rows) for key, value in obs.items()}
    shared = {field.name: folded[field.name] / count for field in task.observation_fields if field.shared}
    return one_subcarrier(task), folded | shared


def unfold_subcarriers(task: TaskSpec, action: Action) -> Action:
    """Give an action on folded observations the axis of subcarriers back."""
    count = num_subcarriers(task)
    if count == 1:
        return action
    if isinstance(action, dict):
        return {key: value.unflatten(0, (-1, count)) for key, value in action.items()}
    return action.unflatten(0, (-1, count))


def _alone(field: Field) -> Field:
    """The field on a single subcarrier."""
    shape = field.shape[1:] if field.per_subcarrier else field.shape
    return replace(field, shape=shape, per_subcarrier=False, shared=False)
