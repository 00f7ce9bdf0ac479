"""What a step uses, as pure functions of (configuration, step): the task, its episodes, the randomness; and who draws them.

Episodes are drawn in this process, or ahead of time in another one; both give the same bits.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self, TypeAlias

import cloudpickle
import numpy as np
import torch
from torch import Tensor

from wirelessgym.fields import Obs
from wirelessgym.learned import FIRST_TRAINING_SEED, FIRST_VALIDATION_SEED
from wirelessgym.parallel import Executor, Here, WorkerError, one_thread
from wirelessgym.parallel.processes import Processes
from wirelessgym.task import Task
from wirelessgym.train.config import Configuration

Batch: TypeAlias = tuple[Any, Obs]  # state and observation

AHEAD = 3  # largest number of batches that wait


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


class Drawer:
    """Draws batches. To be used in a ``with`` block, at whose end its process ends.

    Args:
        tasks: what to draw from.
        ahead: whether to draw the next batches in another process, while the caller works on one.
    """

    def __init__(self, tasks: Sequence[Task], ahead: bool) -> None:
        self._tasks = list(tasks)
        self._executor: Executor = Processes(1, ahead=AHEAD) if ahead else Here()

    def batches(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Batch]]:
        """Yield a batch for every job, in order; raises what drawing it raises.

        Raises:
            RuntimeError: if the process that draws has ended.
        """
        begun: deque[Job] = deque()
        ready: dict[int, bytes] = {}
        following = 0

        def noted() -> Iterator[Job]:
            for job in jobs:
                begun.append(job)
                yield job

        try:
            for index, packed in self._executor.run(_drawn, noted(), self._tasks):
                ready[index] = packed
                while following in ready:
                    yield begun.popleft(), pickle.loads(ready.pop(following))
                    following += 1
        except WorkerError as error:
            raise RuntimeError(f"drawing episodes: {error}; draw_ahead = false avoids that process") from error

    def __enter__(self) -> Self:
        self._executor.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the process."""
        self._executor.__exit__(*exception)


def _drawn(job: Job, tasks: Sequence[Task]) -> bytes:
    """A batch as bytes, in this process too: memory layout decides how torch rounds."""
    with one_thread():
        return _packed(tasks[job.entry].reset(job.numbers, job.seed))


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Sends tensors as arrays, which is fast, and classes of a main module by value."""

    def reducer_override(self, thing: Any) -> Any:
        if type(thing) is Tensor and thing.dtype != torch.bfloat16:
            return _tensor, (thing.detach().resolve_conj().resolve_neg().contiguous().numpy(),)
        return super().reducer_override(thing)


def _packed(thing: object) -> bytes:
    file = io.BytesIO()
    _Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(thing)
    return file.getvalue()


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(array).clone()  # into memory that torch has aligned
