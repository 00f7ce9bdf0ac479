"""Checks that a task keeps the public contract: fields, pure episodes, metrics, gradients, and what bad actions get."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wirelessgym.check.findings import (
    Finding,
    attempt,
    collect,
    disturb_random_state,
    random_action,
    rule,
    watched_random_state,
)
from wirelessgym.fields import Obs, clone, equal, take, to_real
from wirelessgym.task import State, Step, Task

BATCH = 4
LOOP_STEPS = 8
BOUND_TOLERANCE = 1e-4  # a bound that is found by iteration may be short by this share


def check_task(task: Task, seed: int = 0) -> list[Finding]:
    """Look at a task on a few episodes.

    Returns:
        One finding for each rule, in order; an exception of the task's ends the list and is its last finding.
    """
    return collect(_findings(task, seed))


def _findings(task: Task, seed: int) -> Iterator[Finding]:
    with watched_random_state() as touched:
        state, obs = task.reset(episodes=range(BATCH), seed=seed)
        action = random_action(task.action_fields, BATCH, seed)
        kept = clone(state)
        after, step = task.step(state, action)
    yield rule(
        not touched,
        "it leaves the global random state alone",
        f"it draws from the global random state ({', '.join(touched)})",
        "draw every number from the row's own torch.Generator",
    )
    for name, seen in (("reset", obs), ("step", step.obs)):
        yield attempt(
            f"the observation of {name}() has the shapes, dtypes and bounds of its fields",
            f"the observation of {name}() does not fit its fields",
            partial(_match_fields, task, seen),
        )
    yield rule(
        equal(kept, state),
        "step() leaves the state that it is given as it was",
        "step() writes into the state that it is given",
        "return a new state (dataclasses.replace)",
    )
    _, twin = task.step(state, action)
    yield rule(
        equal(step.metrics, twin.metrics) and equal(step.obs, twin.obs),
        "step() gives the same result for the same state and action",
        "step() gives another result for the same state and action",
        "draw all randomness in reset()",
    )
    alone, (moved, seen) = task.score(state, action), task.advance(state, action)
    yield rule(
        equal(step.metrics, {key: alone.get(key) for key in step.metrics}) and equal(step.obs, seen) and equal(after, moved),
        "step() is score() and advance() together",
        "step() gives another result than score() and advance()",
        "override score() and advance(), or keep all three alike",
    )
    yield _loop_finding(task, state, seed)
    yield rule(
        isinstance(state, State) and torch.equal(after.time_step, state.time_step + 1),
        "its state is a wirelessgym.task.State, and step() moves time_step on by one",
        "its state is no wirelessgym.task.State, or step() does not move time_step on by one",
        "derive the state from State; rows are taken and replaced through it",
    )
    yield from _purity_findings(task, obs, seed)
    yield from _metric_findings(task, state, step)
    yield from _refusal_findings(task, state, action)
    if task.differentiable:
        yield attempt(
            "the reward's gradient with respect to the action is finite",
            "it says it is differentiable, but the reward's gradient with respect to the action fails",
            partial(_gradient, task, state, action),
        )
    yield attempt(
        "a pickled copy draws the same episodes",
        "a pickled copy does not draw the same episodes",
        partial(_pickled, task, obs, seed),
    )


def _loop_finding(task: Task, state: Any, seed: int) -> Finding:
    """Whether actions change what comes exactly where the task says so, on a few steps with different actions."""
    one, other = state, state
    for step in range(min(task.horizon, LOOP_STEPS)):
        first, second = (random_action(task.action_fields, BATCH, seed + 2 * step + k) for k in (1, 2))
        one, other = task.advance(one, first)[0], task.advance(other, second)[0]
    same = equal(one, other)
    if task.open_loop:
        return rule(
            same,
            "no action changes what comes, as open_loop says",
            "an action changes the next state, but open_loop says that none does",
            "set open_loop = False: comparisons then play every agent by itself",
        )
    return rule(
        not same,
        "actions change what comes, as open_loop = False says",
        f"{LOOP_STEPS} steps of different actions lead to the same state, but the task says open_loop = False",
        "use the action in advance(), or set open_loop = True, which lets agents share one trajectory",
    )


def _match_fields(task: Task, obs: Obs) -> None:
    wanted = {field.name: field for field in task.observation_fields}
    if set(wanted) != set(obs):
        raise ValueError(f"observation_fields names {sorted(wanted)}, the observation holds {sorted(obs)}")
    for name, field in wanted.items():
        field.check(obs[name], BATCH)
        if field.dtype == "text":
            continue  # checked in full
        if obs[name].dtype != field.torch_dtype:
            raise ValueError(f"{name}: the field says {field.dtype}, the observation is {obs[name].dtype}")
        value = to_real(obs[name])
        low, high = float(value.min()), float(value.max())
        if low < field.low or high > field.high:
            raise ValueError(f"{name}: the field allows [{field.low:g}, {field.high:g}], got [{low:g}, {high:g}]")


def _purity_findings(task: Task, obs: Obs, seed: int) -> Iterator[Finding]:
    """Episode n of seed s is a function of (s, n) alone."""
    disturb_random_state(seed + 1)
    again = task.reset(episodes=range(BATCH), seed=seed)[1]
    yield rule(
        equal(again, obs),
        "the same seed draws the same episodes, bit for bit",
        "the same seed draws other episodes the second time",
        "keep no generator between resets",
    )
    other = task.reset(episodes=range(BATCH), seed=seed + 1)[1]
    changes = [name for name, value in obs.items() if not equal(value, take(value, [0] * BATCH))]
    changes = [name for name in changes if isinstance(obs[name], Tensor)] or changes  # of few phrases, some may come again
    yield rule(
        bool(changes) and not any(equal(other[name], obs[name]) for name in changes),
        "another seed draws other episodes",
        "another seed draws the same episodes",
        "mix the seed into every row's generator",
    )
    yield rule(
        equal(task.reset(episodes=[2], seed=seed)[1], take(obs, [2])),
        "an episode drawn alone equals the same episode in a batch, bit for bit",
        "an episode drawn alone differs from the same episode in a batch",
        "draw row by row, and sum products over the last axis instead of calling a batched matrix product",
    )
    yield rule(
        equal(task.reset(episodes=[3, 1], seed=seed)[1], take(obs, [3, 1])),
        "the order in which episodes are drawn does not matter",
        "an episode changes with the order in which episodes are drawn",
        "draw row by row",
    )
    mixed = task.reset(episodes=[1, 1], seed=[seed, seed + 1])[1]
    yield rule(
        equal(take(mixed, [0]), take(obs, [1])) and equal(take(mixed, [1]), take(other, [1])),
        "each row may have a seed of its own",
        "a row with a seed of its own is not the episode of that seed",
        "reset() takes one seed for all rows or one for each",
    )


def _metric_findings(task: Task, state: Any, step: Step) -> Iterator[Finding]:
    parts = {name for metric in task.metrics for name in metric.ratio or ()}
    declared = {metric.name for metric in task.metrics} | parts
    headline, sign = task.headline.name, 1 if task.headline.higher_is_better else -1
    missing = sorted({headline, *(task.headline.ratio or ())} - set(step.metrics))
    extra = sorted(set(step.metrics) - declared)
    yield rule(
        not missing and not extra,
        "step() returns metrics that the task declares, the headline among them",  # others may hang on an option
        f"declared but not returned: {missing or 'none'}; returned but not declared: {extra or 'none'}",
        "name every metric in Task.metrics, and the two sums of every ratio",
    )
    odd = [name for name, value in step.metrics.items() if value.shape[:1] != (BATCH,) or not value.isfinite().all()]
    yield rule(
        not odd,
        "metrics are finite, batch axis first",
        f"metrics without a batch axis, or not finite: {odd}",
        "return one value for each row, or a vector of them",
    )
    value, reward = step.metrics[headline], step.reward
    yield rule(
        reward.shape == (BATCH,) and reward.dtype == torch.float32 and step.terminated.shape == (BATCH,),
        "reward (float32) and terminated are of shape (batch,)",
        f"reward is {reward.dtype} of shape {tuple(reward.shape)}, terminated of shape {tuple(step.terminated.shape)}",
        "one number for each row",
    )
    meaning = headline if sign > 0 else f"minus {headline}"
    yield rule(
        value.shape == reward.shape and torch.allclose(reward, sign * value, rtol=1e-4, atol=1e-6),
        f"the reward is {meaning}",
        f"the reward is not {meaning}",
        "the reward is the headline metric, negated where smaller is better",
    )
    bound = task.bound(state)
    if bound is not None:
        slack = BOUND_TOLERANCE * bound.abs() + 1e-6
        yield rule(
            bound.shape == (BATCH,) and bool((sign * value <= sign * bound + slack).all()),
            "a random action stays within bound()",
            "a random action beats bound()",
            "bound() is at least as good as any action, in the headline metric",
        )


def _refusal_findings(task: Task, state: Any, action: Mapping[str, Tensor]) -> Iterator[Finding]:
    for field in task.action_fields:
        good = action[field.name]
        if not isinstance(good, Tensor):
            broken: dict[str, Any] = {"of another number of texts": good[1:]}
        else:
            broken = {"of the wrong shape": good[..., None]}
        if isinstance(good, Tensor) and (good.is_floating_point() or good.is_complex()):
            broken["with NaN"] = torch.full_like(good, torch.nan)
        for what, value in broken.items():
            try:
                task.step(state, {**action, field.name: value})
                said = "it was accepted"
            except (TypeError, ValueError) as error:
                said = str(error)
            yield rule(
                field.name in said,
                f"{field.name} {what} is refused by name",
                f"{field.name} {what}: {said}",
                f"pass actions through Task.check_action, whose errors name {field.name!r}",
            )


def _gradient(task: Task, state: Any, action: Mapping[str, Tensor]) -> None:
    copy = clone(dict(action))
    leaves = [value for value in copy.values() if isinstance(value, Tensor)]
    for leaf in leaves:
        leaf.requires_grad_(leaf.is_floating_point() or leaf.is_complex())
    torch.autograd.backward([task.step(state, copy)[1].reward.sum()])
    gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
    if not gradients:
        raise ValueError("no gradient reaches the action")
    if not all(bool(gradient.isfinite().all()) for gradient in gradients):
        raise ValueError("a gradient is NaN or infinite")


def _pickled(task: Task, obs: Obs, seed: int) -> None:
    copy = pickle.loads(pickle.dumps(task))
    if copy != task:
        raise ValueError("the copy's settings differ")
    if not equal(copy.reset(episodes=range(BATCH), seed=seed)[1], obs):
        raise ValueError("the copy's episodes differ")
