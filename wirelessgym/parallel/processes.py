"""Local processes: fresh interpreters (loky, from joblib), which don't import the caller's main module."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any, Self, TypeVar

import cloudpickle
import joblib
from joblib.externals.loky import ProcessPoolExecutor

from wirelessgym.parallel import QUIET, WorkerError, windowed
from wirelessgym.parallel.orphans import begin_worker

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")


def cores() -> int:
    """Number of cores that this process may use, containers' limits counted."""
    count: int = joblib.cpu_count()
    return count


class Processes:
    """Works in processes of this machine, which end with this object's ``with`` block and with this process, however it ends.

    Args:
        workers: how many; None for one per core.
        ahead: how many items may be under way, those that wait for a worker included; None for two per worker.
        fresh: whether every item gets a process of its own, one after the other.
    """

    def __init__(self, workers: int | None = None, *, ahead: int | None = None, fresh: bool = False) -> None:
        self.workers = workers or cores()
        self._ahead = ahead or 2 * self.workers
        self._fresh = fresh
        self._pool: Any = None
        self._entered = 0

    def run(self, function: Callable[[T, S], R], items: Iterable[T], shared: S) -> Iterator[tuple[int, R]]:
        """See `Executor.run`. The shared value goes through a temporary file, which each worker reads once."""
        with self, TemporaryDirectory(prefix="wirelessgym-") as folder:
            stored = Path(folder) / "shared.pkl"
            stored.write_bytes(cloudpickle.dumps(shared))
            if self._fresh:
                yield from self._one_by_one(function, items, stored)
                return
            pool = self._started()
            under_way = windowed(
                items,
                self._ahead,
                lambda item: pool.submit(_work, function, item, str(stored)),
                lambda futures: wait(futures, return_when=FIRST_COMPLETED).done,
            )
            try:
                for index, future in under_way:
                    yield index, _taken(future.result())
            except BrokenExecutor as error:
                self._end()
                said = str(error).splitlines()[0]
                raise WorkerError(f"a worker process ended while it worked, for want of memory perhaps: {said}") from error

    def _one_by_one(self, function: Callable[[T, S], R], items: Iterable[T], stored: Path) -> Iterator[tuple[int, R]]:
        for index, item in enumerate(items):
            with ExitStack() as stack:
                pool = _pool(1)
                stack.callback(pool.shutdown, kill_workers=True)
                result = _taken(pool.submit(_work, function, item, str(stored)).result())
            yield index, result

    def _started(self) -> Any:
        if self._pool is None:
            self._pool = _pool(self.workers)
        return self._pool

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(kill_workers=True)
            self._pool = None

    def __enter__(self) -> Self:
        self._entered += 1
        return self

    def __exit__(self, *exception: object) -> None:
        """End the processes when the outermost block ends."""
        self._entered -= 1
        if not self._entered:
            self._end()


def _pool(workers: int) -> Any:
    """Workers that never hear Ctrl-C, not even while they start: the mask under which they are started is theirs for good."""
    masks = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else set()
    safe_path = os.environ.get("PYTHONSAFEPATH", "")
    os.environ |= {"PYTHONSAFEPATH": "1"}  # loky's helper processes take this process's environment, see QUIET
    try:
        pool = ProcessPoolExecutor(workers, initializer=begin_worker, initargs=(os.getpid(),), env=QUIET)
        pool.submit(os.getpid)  # which starts them
    finally:
        os.environ |= {"PYTHONSAFEPATH": safe_path}  # empty is as good as unset
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pool


def _work(function: Callable[[T, Any], R], item: T, stored: str) -> str:
    """Work in a worker, and return the file of the result.

    A file, because a worker that is killed while it sends a long message leaves loky waiting for the rest of it for ever. A short
    message arrives whole or not at all.
    """
    result = cloudpickle.dumps(function(item, _shared(stored)))
    with NamedTemporaryFile(dir=Path(stored).parent, suffix=".result", delete=False) as file:
        file.write(result)
    return file.name


def _taken(file: str) -> Any:
    path = Path(file)
    result = cloudpickle.loads(path.read_bytes())
    path.unlink()
    return result


@lru_cache(maxsize=1)
def _shared(stored: str) -> Any:
    return cloudpickle.loads(Path(stored).read_bytes())
