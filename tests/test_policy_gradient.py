"""Losses over trajectories: the score function against exact gradients, and both losses on tasks with known optima."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from battery import Battery, BatteryState, Saver, best, planner
from torch import Tensor

from wirelessgym import make_task
from wirelessgym.fields import Action, Field, Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.policy_gradient import (
    PolicyGradient,
    entropy,
    log_probability,
    most_likely,
    pathwise_loss,
    sample_actions,
    score_function_loss,
)
from wirelessgym.rollouts import Rollout
from wirelessgym.task import Task


def battery(horizon: int, **options: bool) -> Task:
    return make_task(Battery, horizon=horizon, **options)


def table(horizon: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(horizon, 4, 2, generator=generator).requires_grad_()


def policy_of(logits: Tensor):
    return lambda obs: logits[obs["slot"], obs["energy"]]


def expected_return(task: Task, logits: Tensor, state: BatteryState, obs: Obs, discount: float = 1.0) -> Tensor:
    """The exact mean reward of each episode under a policy, shape (batch,): a sum over all sequences of actions."""
    total = torch.zeros(len(state.seed))
    for actions in itertools.product((0, 1), repeat=task.horizon):
        rollout, probability, earned = Rollout(task, state, obs), torch.ones(len(state.seed)), torch.zeros(len(state.seed))
        for chosen in actions:
            # What follows an episode's end counts once, not once for each sequence of actions there.
            odds = policy_of(logits)(rollout.obs).softmax(-1)[:, chosen]
            probability = probability * torch.where(rollout.live, odds, 0.5)
            step = rollout.step(torch.full((len(state.seed),), chosen))
            earned = earned + torch.where(step.live, task.reward(step.metrics), 0.0)
        total = total + probability * earned
    return total / task.horizon


@pytest.mark.parametrize("fragile", [False, True])
def test_the_score_function_has_the_exact_gradient_in_expectation(fragile: bool):
    task, logits = battery(3, fragile=fragile), table(3)
    state, obs = task.reset(range(8), seed=5)
    (exact,) = torch.autograd.grad(-expected_return(task, logits, state, obs).mean(), logits)
    estimates = []
    generator = torch.Generator().manual_seed(1)
    for _ in range(800):
        loss = score_function_loss(task, policy_of(logits), state, obs, generator, PolicyGradient(samples_per_episode=2))
        estimates.append(torch.autograd.grad(loss, logits)[0])
    found = torch.stack(estimates)
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - exact).abs() <= 4.5 * error + 1e-7).all()
    assert error.max() < 0.08 * exact.abs().max()  # so a wrong sign, factor or mask would have been seen


def test_the_baseline_is_the_mean_return_of_the_other_plays_of_the_same_episode():
    # Rewards that differ between episodes only: every play of an episode earns the same, so nothing is to be learned.
    class Easy(Battery):
        def score(self, state: BatteryState, action: Action) -> dict[str, Tensor]:
            return {"earned": state.episode.float()}

    task, logits = make_task(Easy, horizon=3), table(3)
    loss = score_function_loss(task, policy_of(logits), *task.reset(range(5)), torch.Generator())
    assert torch.autograd.grad(loss, logits)[0].abs().max() == 0


def test_what_comes_after_an_episodes_end_counts_for_nothing():
    task, logits = battery(6, fragile=True), torch.zeros(6, 4, 2, requires_grad=True)
    state, obs = task.reset(range(64), seed=2)
    loss = score_function_loss(task, policy_of(logits), state, obs, torch.Generator(), PolicyGradient(entropy_bonus=1.0))
    slopes = torch.autograd.grad(loss, logits)[0].abs().amax((0, 2))
    assert slopes[:3].min() > 0 and slopes[3] == 0  # a full battery is seen only after an episode's end


def test_more_entropy_is_worth_its_bonus():
    task = battery(2)
    state, obs = task.reset(range(3))
    flat = torch.zeros(2, 4, 2)
    losses = [
        score_function_loss(task, policy_of(flat), state, obs, torch.Generator().manual_seed(0), PolicyGradient(4, bonus))
        for bonus in (0.0, 0.5)
    ]
    assert (losses[0] - losses[1]).item() == pytest.approx(0.5 * torch.tensor(2.0).log().item(), rel=1e-5)


def test_a_discount_of_almost_nothing_sees_the_next_reward_only():
    # Waiting in the first slot earns nothing then, so a short-sighted policy wants to send.
    task = battery(3)
    state, obs = task.reset(range(64), seed=3)
    logits = torch.zeros(3, 4, 2, requires_grad=True)
    slopes = []
    for discount in (1e-6, 1.0):
        loss = score_function_loss(
            task, policy_of(logits), state, obs, torch.Generator().manual_seed(0), PolicyGradient(64, discount=discount)
        )
        slopes.append(torch.autograd.grad(loss, logits)[0][0, 1])
    assert slopes[0][1] < 0 < slopes[0][0]  # descending makes sending likelier
    assert slopes[1][0] < slopes[0][0]


def test_the_loss_is_the_negative_mean_reward_of_the_sampled_actions():
    task = battery(4)
    hasty = torch.tensor([0.0, 50.0]).expand(4, 4, 2).clone().requires_grad_()  # always sends
    state, obs = task.reset(range(16), seed=4)
    loss = score_function_loss(task, policy_of(hasty), state, obs, torch.Generator())
    steps = Rollout(task, state, obs).play(lambda _, seen: torch.ones_like(seen["slot"]))
    assert loss.item() == pytest.approx(-torch.stack([step.metrics["earned"] for step in steps]).mean().item(), rel=1e-6)


def test_the_same_generator_gives_the_same_loss_and_another_one_does_not():
    task, logits = battery(4), table(4)
    state, obs = task.reset(range(4))
    before = torch.get_rng_state()
    losses = [score_function_loss(task, policy_of(logits), state, obs, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("fragile", [False, True])
def test_a_table_trained_by_the_score_function_reaches_the_optimum(fragile: bool):
    task = battery(6, fragile=fragile)
    agent = Saver()
    optimiser = torch.optim.Adam(agent.weights(task).parameters(), lr=0.2)
    for step in range(80):
        state, obs = task.reset(range(16 * step, 16 * step + 16), seed=11)
        optimiser.zero_grad()
        agent.trajectory_loss(task, state, obs, torch.Generator().manual_seed(step)).backward()
        optimiser.step()
    state, obs = task.reset(range(1000), seed=12)

    def earned(act) -> Tensor:
        steps = Rollout(task, state, obs).play(lambda _, seen: act(seen))
        return torch.stack([torch.where(step.live, task.reward(step.metrics), 0.0) for step in steps]).sum(0)

    learned, planned = earned(lambda seen: agent.act(task, seen)), earned(lambda seen: planner(seen, 6, fragile))
    hasty = earned(lambda seen: torch.ones_like(seen["slot"]))
    assert planned.mean().item() == pytest.approx(best(6, fragile), abs=4 * planned.std().item() / 1000**0.5)
    assert 0.98 * planned.mean() < learned.mean() < 1.01 * planned.mean()
    assert hasty.mean() < 0.8 * planned.mean()


TWO = (Field("mcs", (), "int64", "1", 3, 5, "a choice"), Field("on", (2,), "bool", "1", 0, 1, "two switches"))


class Wide(Battery):
    @property
    def action_fields(self) -> tuple[Field, ...]:
        return TWO


def test_actions_of_several_entries_have_bounds_shapes_and_probabilities_of_their_own():
    task = make_task(Wide)
    logits = {"mcs": torch.tensor([[0.0, 2.0, 1.0]] * 5000), "on": torch.tensor([[[0.0, 3.0], [1.0, 0.0]]] * 5000)}
    mode = most_likely(task, logits)
    assert isinstance(mode, dict)
    assert mode["mcs"][0] == 4 and mode["on"][0].tolist() == [True, False]
    sampled = sample_actions(task, logits, torch.Generator().manual_seed(0))
    checked = task.check_action(sampled, 5000)
    assert set(checked["mcs"].tolist()) == {3, 4, 5}
    frequencies = torch.bincount(checked["mcs"] - 3) / 5000
    assert torch.allclose(frequencies, torch.tensor([0.0, 2.0, 1.0]).softmax(0), atol=0.03)
    odds = torch.tensor([0.0, 2.0, 1.0]).softmax(0)[1] * torch.tensor(3.0).sigmoid() * torch.tensor(1.0).sigmoid()
    assert log_probability(task, logits, mode)[0].exp().item() == pytest.approx(odds.item(), rel=1e-5)
    flat = {key: torch.zeros_like(tensor) for key, tensor in logits.items()}
    assert entropy(task, flat)[0].item() == pytest.approx(torch.tensor([3.0, 2.0, 2.0]).log().sum().item(), rel=1e-5)


def test_a_choice_that_is_ruled_out_is_never_made_and_spoils_no_gradient():
    task = battery(2)
    logits = torch.tensor([[0.3, -torch.inf]]).expand(2000, 2).clone().requires_grad_()
    assert (sample_actions(task, logits, torch.Generator()) == 0).all()
    gain = (log_probability(task, logits, torch.zeros(2000, dtype=torch.int64)) + entropy(task, logits)).sum()
    assert gain.item() == 0 and torch.autograd.grad(gain, logits)[0].isfinite().all()


def test_wrong_logits_are_refused_with_what_was_expected():
    task = make_task(Wide)
    with pytest.raises(ValueError, match=r"mcs: expected logits of shape \(batch, 3\), got \(2, 4\)"):
        most_likely(task, {"mcs": torch.zeros(2, 4), "on": torch.zeros(2, 2, 2)})
    with pytest.raises(ValueError, match=r"missing logits of 'on', got \['mcs'\]"):
        most_likely(task, {"mcs": torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="samples_per_episode: expected at least 2"):
        PolicyGradient(samples_per_episode=1)
    with pytest.raises(ValueError, match="discount: expected above 0, up to 1, got 0"):
        PolicyGradient(discount=0)


class Follow(Battery):
    """A differentiable closed loop: the action moves a point, which should end where the episode says."""

    differentiable = True

    @property
    def action_fields(self) -> tuple[Field, ...]:
        return (Field("move", (), "float32", "m", -1, 1, "displacement"),)

    def reset(self, episodes: Sequence[int], seed: int | Sequence[int] = 0):
        state, obs = super().reset(episodes, seed)
        return replace(state, energy=torch.zeros(len(state.seed))), obs

    def score(self, state: BatteryState, action: Action) -> dict[str, Tensor]:
        return {"earned": -(state.energy - 1).square()}

    def advance(self, state: BatteryState, action: Action | None = None):
        assert isinstance(action, Tensor)
        state = replace(state, time_step=state.time_step + 1, energy=state.energy + action)
        return state, self.observe(state)


def test_where_the_task_is_differentiable_the_gradient_passes_through_every_step():
    task = make_task(Follow, horizon=4)
    move = torch.tensor(0.1, requires_grad=True)
    loss = pathwise_loss(task, lambda obs: move.expand(3), *task.reset(range(3)))
    at = torch.arange(4.0)  # after t steps the point lies at t * move, and only what came before counts
    assert loss.item() == pytest.approx(((at * 0.1 - 1) ** 2).mean().item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, move)
    assert gradient.item() == pytest.approx((2 * (at * 0.1 - 1) * at).mean().item(), rel=1e-5)


def test_an_agent_is_trained_by_what_its_task_allows():
    class Mover(LearnedAgent):
        def build(self, task):
            return torch.nn.Linear(1, 1)

        def forward(self, task, obs):
            return self.weights(task)(obs["slot"].float()[:, None])[:, 0]

    task = make_task(Follow, horizon=3)
    agent = Mover()
    loss = agent.trajectory_loss(task, *task.reset(range(3)), torch.Generator())
    assert torch.autograd.grad(loss, list(agent.weights(task).parameters()))[0].abs() > 0

    class Blind(Follow):
        differentiable = False

    blind = make_task(Blind, horizon=3)
    with pytest.raises(ValueError, match="battery is not differentiable and its actions are not discrete"):
        agent.trajectory_loss(blind, *blind.reset(range(3)), torch.Generator())
    with pytest.raises(NotImplementedError, match="Mover: battery needs a `policy`"):
        agent.trajectory_loss(battery(3), *battery(3).reset(range(3)), torch.Generator())


def test_an_agent_with_memory_forgets_before_every_trajectory():
    class Remembers(Saver):
        rows = 0

        def reset(self, batch: int) -> None:
            self.rows = batch

    agent, task = Remembers(), battery(3)
    agent.trajectory_loss(task, *task.reset(range(5)), torch.Generator(), settings=PolicyGradient(samples_per_episode=3))
    assert agent.rows == 15


def test_the_likeliest_action_is_what_an_agent_with_a_policy_takes():
    agent, task = Saver(), battery(3)
    _, obs = task.reset(range(5))
    assert torch.equal(agent.act(task, obs), agent.policy(task, obs).argmax(-1))
