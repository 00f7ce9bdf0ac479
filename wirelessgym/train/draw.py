"""Drawing episodes: in this process, or ahead of time in another one. Both give the same bits."""

from __future__ import annotations

import io
import pickle
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self, TypeAlias

import cloudpickle
import numpy as np
import torch
from torch import Tensor

from wirelessgym.fields import Obs
from wirelessgym.parallel import Executor, Here, WorkerError, one_thread
from wirelessgym.parallel.processes import Processes
from wirelessgym.task import Task
from wirelessgym.train.schedule import Job

Batch: TypeAlias = tuple[Any, Obs]  # state and observation

AHEAD = 3  # batches that are drawn or wait at most


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
            raise RuntimeError(f"drawing episodes: {error}; draw_ahead = false does without it") from error

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
