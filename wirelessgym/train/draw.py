"""Drawing episodes: in this process, or ahead of time in another one. Both give the same bits.

The other process is this module run by a fresh interpreter (`serve`), spoken to over its standard input and output. It starts
without the caller's main module, doesn't hear Ctrl-C, and ends by itself as soon as the caller does.
"""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Self, TypeAlias

import cloudpickle
import numpy as np
import torch
from torch import Tensor

from wirelessgym.fields import Obs
from wirelessgym.parallel import one_thread
from wirelessgym.task import Task
from wirelessgym.train.schedule import Job

Batch: TypeAlias = tuple[Any, Obs]  # state and observation

AHEAD = 3  # batches that wait at most


class Drawer(ABC):
    """Draws batches in the order in which they were asked for. To be used in a ``with`` block."""

    @abstractmethod
    def ask(self, job: Job) -> None:
        """Ask for a batch."""

    @abstractmethod
    def take(self) -> Batch:
        """Return the batch that was asked for first and not taken yet; raises what drawing it raises."""

    def batches(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Batch]]:
        """Yield a batch for every job, with the next ones already asked for."""
        waiting: deque[Job] = deque()
        for job in jobs:
            self.ask(job)
            waiting.append(job)
            if len(waiting) > AHEAD:
                yield waiting.popleft(), self.take()
        while waiting:
            yield waiting.popleft(), self.take()

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """Put everything away."""


class DrawerHere(Drawer):
    """Draws in this process, when a batch is taken."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._waiting: deque[Job] = deque()

    def ask(self, job: Job) -> None:
        """See `Drawer.ask`."""
        self._waiting.append(job)

    def take(self) -> Batch:
        """See `Drawer.take`."""
        # Through the same bytes as another process would send: memory layout decides how torch rounds.
        batch: Batch = pickle.loads(_packed(_drawn(self._tasks, self._waiting.popleft())))
        return batch

    def __exit__(self, *exception: object) -> None:
        """Nothing to put away."""


@dataclass(frozen=True)
class _Failure:
    """An exception in the other process."""

    text: str


class DrawerAhead(Drawer):
    """Draws in another process, which begins when a batch is asked for."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        program = f"import sys; sys.path[:] = {sys.path!r}; from wirelessgym.train.draw import serve; serve()"
        quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | quiet,
            start_new_session=True,  # Ctrl-C on the terminal is for the caller, who puts this process away
        )
        self._send(list(tasks))

    def ask(self, job: Job) -> None:
        """See `Drawer.ask`."""
        self._send(job)

    def take(self) -> Batch:
        """See `Drawer.take`.

        Raises:
            RuntimeError: if drawing fails there, or the process has ended.
        """
        assert self._process.stdout is not None
        try:
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            raise self._ended() from None
        if isinstance(answer, _Failure):
            raise RuntimeError(f"drawing episodes failed:\n{answer.text}")
        batch: Batch = answer
        return batch

    def __exit__(self, *exception: object) -> None:
        """End the process."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(_packed(message))
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _ended(self) -> RuntimeError:
        code = self._process.wait(timeout=10)
        return RuntimeError(f"the process that draws episodes ended with exit code {code}; draw_ahead = false does without it")


def serve() -> None:
    """Answer requests on standard input, tasks first and then jobs, until it is closed."""
    answers: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    requests = sys.stdin.buffer
    with suppress(EOFError, BrokenPipeError):
        tasks: list[Task] = pickle.load(requests)
        while True:
            job: Job = pickle.load(requests)
            try:
                answer = _packed(_drawn(tasks, job))
            except Exception:
                answer = _packed(_Failure(traceback.format_exc()))
            answers.write(answer)
            answers.flush()
    os._exit(0)  # the pipe is gone, there is nothing to flush


def _drawn(tasks: Sequence[Task], job: Job) -> Batch:
    with one_thread():
        return tasks[job.entry].reset(job.numbers, job.seed)


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
