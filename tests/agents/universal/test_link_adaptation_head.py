"""The universal agent's head for link adaptation starts as the inner loop, and learns."""

import torch

from wirelessgym import make_agent, make_task
from wirelessgym.check import check_agent


def link(**options):
    return make_task("link_adaptation", **{"num_subcarriers": 8, "horizon": 6} | options)


def fresh():
    return make_agent("universal", checkpoint=None, backbone="none")


def test_before_training_it_is_the_inner_loop():
    task = link()
    _, obs = task.reset(range(40), seed=1)
    assert torch.equal(fresh().act(task.spec, obs), make_agent("illa").act(task.spec, obs))
    assert [finding for finding in check_agent(fresh(), task) if not finding.ok] == []


def test_its_loss_is_the_goodput_that_its_policy_can_expect_now():
    """With a policy that is sure, the loss is the chosen block's size times its chance, per resource element."""
    task = link()
    state, obs = task.reset(range(30), seed=2)
    agent = fresh()
    loss = agent.loss(task, state, obs)
    model = agent.weights(task.spec)
    before = float(loss.detach())
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(25):
        optimiser.zero_grad()
        loss = agent.loss(task, state, obs)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < before - 0.05
    best = ((1 - task.block_error_rate(state)) * task.curves.bits).amax(1).mean() / 672
    assert float(loss.detach()) > -float(best)


def test_whole_trajectories_reach_its_weights():
    task = link()
    state, obs = task.reset(range(4), seed=3)
    agent = fresh()
    agent.weights(task.spec)
    agent.trajectory_loss(task, state, obs, torch.Generator().manual_seed(0)).backward()
    gradients = [p.grad for p in agent.weights(task.spec).parameters() if p.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert any(bool(gradient.any()) for gradient in gradients)


def test_a_retransmission_teaches_nothing():
    task = link(snr_db=-10)
    state, _ = task.reset(range(4), seed=4)
    state, step = task.step(state, torch.full((4,), 28))
    assert (step.obs["transmissions"] == 1).all()
    agent = fresh()
    assert (agent.act(task.spec, step.obs) == 28).all()
    agent.loss(task, state, step.obs).backward()
    assert not any(bool(p.grad.any()) for p in agent.weights(task.spec).parameters() if p.grad is not None)
