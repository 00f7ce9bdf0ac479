"""Teach the universal agent a task of your own: a task and its head, in a file outside the package.

The task: estimate the signal-to-noise ratio from pilots that all carry the same unknown symbol. In a package of its own, the head
would be found by an entry point: `[project.entry-points."wirelessgym.heads"]`, `snr_estimation = "my_package:SnrHead"`.
"""

import argparse
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from wirelessgym.agents.universal.heads import Head

import wirelessgym
from wirelessgym.channel.randomness import complex_normal, generators, uniform
from wirelessgym.fields import Field
from wirelessgym.metrics import Metric
from wirelessgym.task import State, Task

PILOTS = 8


@dataclass(frozen=True)
class SnrState(State):
    pilots: torch.Tensor
    snr_db: torch.Tensor  # what is to be estimated


@dataclass(frozen=True)
class SnrEstimation(Task):
    """Estimate the signal-to-noise ratio."""

    id: ClassVar[str] = "snr_estimation"
    default_scenario: ClassVar[str] = "rayleigh-32"
    metrics: ClassVar = (Metric("squared_error", "dB^2", False, "|estimate - SNR|^2", "definition"),)
    differentiable: ClassVar[bool] = True

    @property
    def observation_fields(self):
        return (Field("pilots", (PILOTS,), "complex64", "1", -1e3, 1e3, "received pilots"),)

    @property
    def action_fields(self):
        return (Field("snr_db", (), "float32", "dB", -10, 20, "estimate"),)

    def reset(self, episodes, seed=0):
        number = torch.tensor(list(episodes))
        seeds = torch.as_tensor(seed).expand(len(number)).clone()
        rows = generators(seeds, number, "snr estimation")
        snr_db = uniform((), rows, -10, 20)
        symbol, noise = complex_normal((1,), rows), complex_normal((PILOTS,), rows)
        pilots = symbol / symbol.abs() + noise * 10 ** (-snr_db[:, None] / 20)
        state = SnrState(seeds, number, torch.zeros_like(number), pilots, snr_db)
        return state, {"pilots": pilots}

    def score(self, state, action):
        estimate = self.check_action(action, len(state.seed))["snr_db"]
        return {"squared_error": (estimate - state.snr_db).square()}

    def advance(self, state, action=None):
        following = SnrState(state.seed, state.episode, state.time_step + 1, state.pilots, state.snr_db)
        return following, {"pilots": state.pilots}

    def render(self, state, action=None):
        return np.zeros((1, 1, 3), np.uint8)


def textbook(obs):
    """Power of the pilots' mean over that of their deviations from it, in dB."""
    mean = obs["pilots"].mean(-1, keepdim=True)
    noise = (obs["pilots"] - mean).abs().square().sum(-1) / (PILOTS - 1)
    return (10 * torch.log10(mean[:, 0].abs().square() / noise)).clamp(-10, 20)


class SnrHead(Head):
    """A token is a pilot. Starts at the textbook's estimate and learns a correction."""

    def __init__(self, task, width):
        super().__init__(task, width)
        self.to_token = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.GELU(), torch.nn.Linear(64, width))
        self.correct = torch.nn.Sequential(torch.nn.LayerNorm(width), torch.nn.Linear(width, 64), torch.nn.GELU())
        self.output = torch.nn.Linear(64, 1)
        torch.nn.init.zeros_(self.output.weight)
        torch.nn.init.zeros_(self.output.bias)

    def encode(self, task, obs):
        start = textbook(obs)
        aligned = obs["pilots"] * torch.exp(-1j * obs["pilots"].mean(-1, keepdim=True).angle())
        features = torch.cat([torch.view_as_real(aligned), start[:, None, None].expand(-1, PILOTS, 1) / 10], -1)
        return self.to_token(features), None, start

    def decode(self, task, obs, hidden, start):
        return start + self.output(self.correct(hidden).mean(1))[:, 0]

    def loss(self, task, state, obs, action, context, progress):
        return task.score(state, action)["squared_error"].mean() / 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300, help="training steps")
    parser.add_argument("--episodes", type=int, default=512, help="episodes of the comparison")
    parser.add_argument("--backbone", default="none", help="smollm2-135m reads the instruction, too; none is quickest")
    options = parser.parse_args()

    task = wirelessgym.make_task(SnrEstimation, horizon=1)
    heads = {"snr_estimation": SnrHead}
    agent = wirelessgym.make_agent("universal", checkpoint=None, backbone=options.backbone, extra_heads=heads)
    print(agent.instruction(task.spec))
    weights = agent.weights(task.spec)
    optimiser = torch.optim.Adam([p for p in weights.parameters() if p.requires_grad], 2e-3)
    for step in range(options.steps):
        state, obs = task.reset(range(128 * step, 128 * (step + 1)), seed=2**61)  # comparisons refuse seeds from here on
        optimiser.zero_grad()
        agent.loss(task, state, obs).backward()
        optimiser.step()
    wirelessgym.compare(SnrEstimation, [textbook, agent], episodes=options.episodes, seed=7, horizon=1)


if __name__ == "__main__":
    main()
