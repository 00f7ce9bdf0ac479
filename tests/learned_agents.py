"""What tests ask of every learned agent."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import torch

from wirelessgym import make_agent, make_task
from wirelessgym.fields import Action
from wirelessgym.learned import LearnedAgent, seeded
from wirelessgym.task import Task


def learned(name: str, **options: Any) -> LearnedAgent:
    agent = make_agent(name, **options)
    assert isinstance(agent, LearnedAgent)
    return agent


def train(
    agent: LearnedAgent, task: Task, state: Any, obs: Any, steps: int, learning_rate: float, progress: float = 1.0
) -> list[float]:
    """Descend on fixed episodes and return the loss before each step and after the last."""
    weights = agent.weights(task)
    weights.train()
    optimiser = torch.optim.Adam([p for p in weights.parameters() if p.requires_grad], learning_rate)
    losses = []
    for _ in range(steps + 1):
        loss = agent.loss(task, state, obs, progress)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        if len(losses) <= steps:
            optimiser.step()
    return losses


def parameters_without_gradient(agent: LearnedAgent, task: Task) -> list[str]:
    """Names of trainable parameters that the last backward pass left without a gradient other than zero, or with a broken one."""
    named = [(name, p.grad) for name, p in agent.weights(task).named_parameters() if p.requires_grad]
    return [name for name, grad in named if grad is None or not grad.isfinite().all() or not grad.abs().max() > 0]


def bfloat16_changes_the_loss_by(agent: LearnedAgent, task: Task, state: Any, obs: Any) -> float:
    """Relative change of the loss under bfloat16 autocast, with the same chance, after a check that its gradients are finite."""
    agent.weights(task).train()
    with seeded(0):
        loss = agent.loss(task, state, obs)
    with seeded(0), torch.autocast("cpu", torch.bfloat16):
        rough = agent.loss(task, state, obs)
    rough.backward()
    assert rough.dtype == torch.float32
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in agent.weights(task).parameters())
    return abs(rough.item() / loss.item() - 1)


def equal_actions(one: Action, other: Action) -> bool:
    if isinstance(one, dict):
        return isinstance(other, dict) and all(torch.equal(one[key], other[key]) for key in one)
    return isinstance(other, torch.Tensor) and torch.equal(one, other)


def survives_a_round_trip(agent: LearnedAgent, task: Task, obs: Any, folder: Path, **options: Any) -> bool:
    """Whether another agent, started from other weights, acts the same once it has loaded what this one saved."""
    action = agent.act(task, obs)
    agent.save(folder)
    other = learned(agent.name, seed=agent.seed + 1, **options)
    fresh = other.act(task, obs)
    other.load(folder)
    return (
        equal_actions(other.act(task, obs), action)
        and not equal_actions(fresh, action)
        and other.fingerprint == agent.fingerprint
        and learned(agent.name, checkpoint=folder, **options).num_parameters == agent.num_parameters
    )


def training_task(name: str) -> Task:
    """The task of an agent's training configuration."""
    spec = importlib.util.find_spec("wirelessgym.agents")
    assert spec is not None
    folder = Path(next(iter(spec.submodule_search_locations or ())))
    configuration = tomllib.loads((folder / "training" / f"{name}.toml").read_text())
    (entry,) = configuration["tasks"]
    assert configuration["agent"] == name
    assert entry["task"] in make_agent(name, **configuration["agent_options"]).tasks
    return make_task(entry["task"], scenario=entry["scenario"], **entry["overrides"])
