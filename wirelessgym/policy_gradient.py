"""Losses over whole trajectories: the score function for discrete actions, the gradient through ``step`` for others.

Nothing can be differentiated through a discrete action, so the gradient of the expected return is estimated from sampled actions:
``E[sum_t grad log p(a_t | o_t) (G_t - b_t)]``, where ``G_t`` is the reward from step t on and ``b_t`` any baseline that doesn't
depend on ``a_t``. Here every episode is played several times with the same exogenous randomness, and the baseline of one play is
the mean return of the others: the episode's own difficulty cancels.

Source: Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", Machine Learning 8,
1992, theorem 1 (REINFORCE) and section 4 (baselines); Kool, van Hoof and Welling, "Buy 4 REINFORCE samples, get a baseline for
free!", ICLR 2019 workshop, equation (8) (leave-one-out baseline).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from wirelessgym.fields import Action, Field, Obs, num_rows, take
from wirelessgym.rollouts import Rollout
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

Logits: TypeAlias = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class PolicyGradient:
    """Settings of `score_function_loss`.

    Attributes:
        samples_per_episode: how often each episode is played, at least 2.
        entropy_bonus: weight of the policy's entropy (nats, mean over steps), which keeps it from settling too early.
        discount: weight of a reward one step later, in (0, 1]; below 1 it trades a bias for less variance on long episodes.
    """

    samples_per_episode: int = 8
    entropy_bonus: float = 0.0
    discount: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what would give no baseline or no return."""
        if self.samples_per_episode < 2:
            raise ValueError(
                f"samples_per_episode: expected at least 2, each the others' baseline, got {self.samples_per_episode}"
            )
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount: expected above 0, up to 1, got {self.discount}")


def is_discrete(task: TaskSpec) -> bool:
    """Whether every entry of an action is a choice among finitely many numbers."""
    return all(
        field.dtype == "bool" or (field.dtype == "int64" and math.isfinite(field.low) and math.isfinite(field.high))
        for field in task.action_fields
    )


def most_likely(task: TaskSpec, logits: Logits) -> Action:
    """Return the mode of the policy.

    Args:
        task: says which entries an action has.
        logits: see `LearnedAgent.policy`.

    Returns:
        Each entry of shape (batch, *shape), in the field's dtype.

    Raises:
        ValueError: for logits of wrong shape or entries without finitely many values.
    """
    return _action(task, {field.name: _chosen(field, values.argmax(-1)) for field, values in _entries(task, logits)})


def sample_actions(task: TaskSpec, logits: Logits, generator: torch.Generator) -> Action:
    """Sample an action per row, by the Gumbel-max rule: the same generator gives the same actions on every device."""
    return _action(task, {field.name: _chosen(field, _sample(values, generator)) for field, values in _entries(task, logits)})


def log_probability(task: TaskSpec, logits: Logits, action: Action) -> Tensor:
    """Return the logarithm of an action's probability, summed over its entries, shape (batch,)."""
    given = action if isinstance(action, dict) else {task.action_fields[0].name: action}
    parts = []
    for field, values in _entries(task, logits):
        index = (given[field.name].long() - _values(field).start).unsqueeze(-1)
        parts.append(_summed(values.log_softmax(-1).gather(-1, index).squeeze(-1)))
    return torch.stack(parts).sum(0)


def entropy(task: TaskSpec, logits: Logits) -> Tensor:
    """Return the policy's entropy in nats, summed over an action's entries, shape (batch,)."""
    parts = []
    for _, values in _entries(task, logits):
        logarithm = values.log_softmax(-1)
        finite = logarithm.clamp_min(torch.finfo(logarithm.dtype).min)  # choices that are ruled out by -inf add nothing
        parts.append(_summed(-(logarithm.exp() * finite).sum(-1)))
    return torch.stack(parts).sum(0)


def score_function_loss(
    task: Task,
    policy: Callable[[Obs], Logits],
    state: Any,
    obs: Obs,
    generator: torch.Generator,
    settings: PolicyGradient = PolicyGradient(),
) -> Tensor:
    """Return the negative mean reward of sampled actions, with an unbiased estimate of its expectation's gradient.

    Args:
        task: the task; nothing of it has to be differentiable.
        policy: observation to logits, with gradients to the weights; called once per step, in order.
        state: of the episodes, shape (batch, ...).
        obs: their first observation.
        generator: what actions are sampled with.
        settings: how many samples, and what else counts.

    Returns:
        Scalar: rewards, and the entropy's bonus, summed over each episode until it terminates, divided by the horizon, and
        averaged. With a discount below 1 the gradient, not the value, is that of discounted rewards.
    """
    samples = settings.samples_per_episode
    rows = torch.arange(num_rows(state), device=state.episode.device).repeat_interleave(samples)
    rollout = Rollout(task, take(state, rows), take(obs, rows))
    rewards, log_probabilities, entropies = [], [], []
    while bool(rollout.live.any()):
        logits = policy(rollout.obs)
        action = sample_actions(task.spec, logits, generator)
        with torch.no_grad():
            step = rollout.step(action)
        log_probabilities.append(torch.where(step.live, log_probability(task.spec, logits, action), 0.0))
        entropies.append(torch.where(step.live, entropy(task.spec, logits), 0.0))
        rewards.append(torch.where(step.live, task.reward(step.metrics), 0.0))
    earned, bonus = torch.stack(rewards, 1), settings.entropy_bonus * torch.stack(entropies, 1)
    surrogate = torch.stack(log_probabilities, 1) * _leave_one_out(_returns_to_go(earned, settings.discount), samples)
    # The surrogate has the gradient that is wanted, but its value says nothing: it is replaced by that of the rewards.
    gain = surrogate - surrogate.detach() + earned + bonus
    return -gain.sum(1).mean() / task.horizon


def pathwise_loss(task: Task, forward: Callable[[Obs], Action], state: Any, obs: Obs) -> Tensor:
    """Return the negative mean reward over episodes and steps, with the gradient through every step of the task.

    Args:
        task: a differentiable task.
        forward: observation to action, with gradients to the weights.
        state: of the episodes.
        obs: their first observation.
    """
    steps = Rollout(task, state, obs).play(lambda _, seen: forward(seen))
    rewards = [torch.where(step.live, task.reward(step.metrics), 0.0) for step in steps]
    return -torch.stack(rewards).sum(0).mean() / task.horizon


def _returns_to_go(rewards: Tensor, discount: float) -> Tensor:
    """(rows, steps) to the same shape: the discounted sum of what is still to come."""
    steps = torch.arange(rewards.shape[1], device=rewards.device)
    weights = discount ** (steps[:, None] - steps)  # row: when a reward comes; column: when the action was taken
    return rewards @ weights.tril().to(rewards.dtype)


def _leave_one_out(returns: Tensor, samples: int) -> Tensor:
    """(episodes * samples, steps) to the same shape: each return less the mean of the same episode's others."""
    grouped = returns.unflatten(0, (-1, samples))
    return ((grouped - grouped.mean(1, keepdim=True)) * (samples / (samples - 1))).flatten(0, 1)


def _entries(task: TaskSpec, logits: Logits) -> list[tuple[Field, Tensor]]:
    given = logits if isinstance(logits, dict) else {task.action_fields[0].name: logits}
    entries = []
    for field in task.action_fields:
        if field.dtype not in ("int64", "bool"):
            raise ValueError(f"{field.name}: a policy over logits needs an int64 or bool entry, got {field.dtype}")
        if field.name not in given:
            raise ValueError(f"policy: missing logits of {field.name!r}, got {sorted(given)}")
        values, wanted = given[field.name], (*field.shape, len(_values(field)))
        if tuple(values.shape[1:]) != wanted:
            shape = ", ".join(map(str, wanted))
            raise ValueError(f"policy: {field.name}: expected logits of shape (batch, {shape}), got {tuple(values.shape)}")
        entries.append((field, values))
    return entries


def _summed(values: Tensor) -> Tensor:
    """(batch, ...) to (batch,)."""
    return values.reshape(len(values), -1).sum(1)


def _sample(logits: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.rand(logits.shape, generator=generator, dtype=torch.float64).clamp_min(1e-300)
    return (logits.detach().double() - (-noise.log()).log().to(logits.device)).argmax(-1)


def _values(field: Field) -> range:
    """What an entry can be, in the order of its logits."""
    return range(2) if field.dtype == "bool" else range(int(field.low), int(field.high) + 1)


def _chosen(field: Field, index: Tensor) -> Tensor:
    return (index + _values(field).start).to(field.torch_dtype)


def _action(task: TaskSpec, entries: dict[str, Tensor]) -> Action:
    return entries if len(entries) > 1 else entries[task.action_fields[0].name]
