"""What each step uses, as pure functions of (configuration, step): the task, its episodes, the learning rate, the randomness."""

from __future__ import annotations

import hashlib
import math
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from wirelessgym.learned import FIRST_TRAINING_SEED, FIRST_VALIDATION_SEED
from wirelessgym.train.config import Configuration


@dataclass(frozen=True)
class Job:
    """Episodes to draw.

    Attributes:
        entry: index in ``configuration.tasks``.
        seed: of the episodes.
        numbers: of the episodes.
    """

    entry: int
    seed: int
    numbers: range


def step_seed(seed: int, step: int, purpose: str) -> int:
    """A number of 32 bits that belongs to a step and a purpose."""
    name = struct.pack("<qq", seed, step) + purpose.encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), "little")


def entry_of(config: Configuration, step: int) -> int:
    """Index of the task entry that a step, counted from 0, uses."""
    if config.task_choice == "round_robin" or len(config.tasks) == 1:
        return step % len(config.tasks)
    bounds = list(accumulate(entry.weight for entry in config.tasks))
    return bisect_right(bounds, step_seed(config.seed, step, "task") / 2**32 * bounds[-1])


def uses(config: Configuration, steps: int) -> list[int]:
    """How often each task entry is used by steps 0 to ``steps`` - 1."""
    counts = [0] * len(config.tasks)
    for step in range(steps):
        counts[entry_of(config, step)] += 1
    return counts


def training_jobs(config: Configuration, first: int) -> Iterator[Job]:
    """What steps ``first``, ``first`` + 1, ... draw: episodes that no earlier step and no other entry has drawn."""
    counts = uses(config, first)
    for step in range(first, config.steps):
        entry = entry_of(config, step)
        batch = config.tasks[entry].batch
        yield Job(entry, FIRST_TRAINING_SEED + config.seed, _numbers(config, entry, counts[entry] * batch, batch))
        counts[entry] += 1


def validation_jobs(config: Configuration) -> list[Job]:
    """What validation draws: the same episodes every time, in batches like those of training."""
    seed = FIRST_VALIDATION_SEED + config.seed
    return [
        Job(index, seed, _numbers(config, index, first, min(entry.batch, entry.validation_episodes - first)))
        for index, entry in enumerate(config.tasks)
        for first in range(0, entry.validation_episodes, entry.batch)
    ]


def _numbers(config: Configuration, entry: int, first: int, count: int) -> range:
    """Every n-th number belongs to one of n entries: two entries of one task share no episode."""
    stride = len(config.tasks)
    return range(first * stride + entry, (first + count) * stride + entry, stride)


def learning_rate(config: Configuration, step: int) -> float:
    """The learning rate of a step, counted from 0: linear warm-up, then half a cosine that reaches 0 after the last step.

    Source of the cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, equation (5), with one period.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
    return config.learning_rate * (1 + math.cos(math.pi * share)) / 2
