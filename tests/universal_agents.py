"""What tests of the universal agent and its heads share: agents with and without a language model, away from their start."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from learned_agents import learned
from torch import Tensor

from wirelessgym import make_task
from wirelessgym.learned import LearnedAgent
from wirelessgym.task import Task

TASKS = ("precoding", "detection", "channel_prediction")
TINY_BACKBONE: dict[str, Any] = {"backbone": "random", "layers": 1, "dtype": "float32"}


@cache
def episodes(name: str, batch: int = 6, **overrides: Any) -> tuple[Task, Any, dict[str, Tensor]]:
    """A task, a state and what is seen of it; options that are lists are given as tuples."""
    settings = {"scenario": "uma-nlos-16", "horizon": 1, **overrides}
    if name == "channel_prediction":
        settings.setdefault("num_subcarriers", 12)
    task = make_task(name, **{key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()})
    return task, *task.reset(range(batch), seed=5)


def universal(**options: Any) -> LearnedAgent:
    """Fresh weights, without a language model unless there is one in ``options``."""
    return learned("universal", **{"checkpoint": None, "backbone": "none", **options})


def stirred(agent: LearnedAgent, *tasks: Task, seed: int = 3, strength: float = 0.1) -> LearnedAgent:
    """Give values to all weights that start at zero, so that the agent leaves its classical start; return it."""
    generator = torch.Generator().manual_seed(seed)
    for task in tasks:
        for _, parameter in sorted(zero_weights(agent, task)):
            parameter.data += strength * torch.randn(parameter.shape, generator=generator)
    return agent


def zero_weights(agent: LearnedAgent, task: Task) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in agent.weights(task).named_parameters():
        if parameter.requires_grad and not parameter.abs().max() > 0:
            yield name, parameter


def tone(task: Task, frequency: float, batch: int = 1) -> Tensor:
    """A single path: ``frequency`` cycles per slot, past and future slots, shape (batch, slots, antennas, subcarriers)."""
    past, antennas, subcarriers = task.observation_fields[0].shape
    time = torch.arange(past + task.action_fields[0].shape[0])[:, None, None]
    place = 0.31 * torch.arange(antennas)[:, None] + 0.017 * torch.arange(subcarriers)
    angle = 2 * torch.pi * (frequency * time + place)
    return torch.polar(torch.ones_like(angle), angle)[None].expand(batch, -1, -1, -1)
