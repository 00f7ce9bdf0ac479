"""Work on many items, in this process or in others: one small protocol, `Executor`, and the executors that come with the package.

A comparison, training's drawing ahead and the benches all hand their work to an executor. What they compute doesn't depend on
which: items are numbered, and every item is a pure function of itself and the shared value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import torch

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")

NAMES = ("here", "processes", "ray")
# Environment of every process that is started: it has one thread, its OpenMP doesn't spin while it waits, and a ``random.py`` in
# the current folder doesn't stand in for Python's own.
QUIET = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "PYTHONSAFEPATH": "1",
}
PROCESSES_PAY_AFTER_S = 20.0  # starting them takes five to ten seconds of importing torch and sionna each


class WorkerError(RuntimeError):
    """A worker ended while it worked; says how, as far as that is known."""


@runtime_checkable
class Executor(Protocol):
    """Works on numbered items. To be used in a ``with`` block, which may be entered again inside itself."""

    def run(self, function: Callable[[T, S], R], items: Iterable[T], shared: S) -> Iterator[tuple[int, R]]:
        """Yield ``(index, function(item, shared))`` for each item as it finishes, in any order.

        Args:
            function: a module-level function, so that other processes find it.
            items: taken as they are needed, not all at once.
            shared: what all items have in common; it reaches each worker once.

        Raises:
            WorkerError: if a worker ends while it works.
            Exception: what ``function`` raises.
        """
        ...

    def __enter__(self) -> Self:
        """Make ready."""
        ...

    def __exit__(self, *exception: object) -> None:
        """End every process that was started."""
        ...


class Here:
    """Works in this process, on one item after the other."""

    def run(self, function: Callable[[T, S], R], items: Iterable[T], shared: S) -> Iterator[tuple[int, R]]:
        """See `Executor.run`."""
        for index, item in enumerate(items):
            yield index, function(item, shared)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing to end."""


class Automatic(Here):
    """Works here, and goes on in local processes as soon as what is left looks long enough to pay for starting them.

    Args:
        workers: how many processes at most; None for one per core.
    """

    def __init__(self, workers: int | None = None) -> None:
        from wirelessgym.parallel.processes import cores

        self.workers = workers or cores()

    def run(self, function: Callable[[T, S], R], items: Iterable[T], shared: S) -> Iterator[tuple[int, R]]:
        """See `Executor.run`."""
        from wirelessgym.parallel.processes import Processes

        rest = list(items)
        for index, item in enumerate(rest):
            begin = time.perf_counter()
            yield index, function(item, shared)
            left = len(rest) - index - 1
            if self.workers > 1 and left > 1 and (time.perf_counter() - begin) * left > PROCESSES_PAY_AFTER_S:
                with Processes(self.workers) as executor:
                    for later, result in executor.run(function, rest[index + 1 :], shared):
                        yield index + 1 + later, result
                return


def make_executor(wanted: str | Executor | None = None, workers: int | None = None) -> Executor:
    """Return the executor that a caller asks for.

    Args:
        wanted: ``"here"``, ``"processes"`` (of this machine), ``"ray"`` (extra ``ray``), or an object of one's own; None to start
            processes only where the work is long enough to pay for it, or as ``workers`` says.
        workers: how many processes; 1 without ``wanted`` stays in this one. None: one per core.

    Raises:
        ValueError: for another name, or ``workers`` below 1 or beside an object.
        TypeError: for an object without `Executor.run`, or ``workers`` that isn't an integer.
        ImportError: for ``"ray"`` without its package.
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int)):
        raise TypeError(f"processes: expected an integer, got {workers!r}")
    if workers is not None and workers < 1:
        raise ValueError(f"processes: expected at least 1, got {workers}")
    match wanted:
        case None if workers is None:
            return Automatic()
        case None if workers == 1:
            return Here()
        case "here":
            return Here()
        case None | "processes":
            from wirelessgym.parallel.processes import Processes

            return Processes(workers)
        case "ray":
            from wirelessgym.parallel.ray import Ray

            return Ray(workers)
        case str():
            raise ValueError(f"executor: expected one of {', '.join(NAMES)}, got {wanted!r}")
    if not isinstance(wanted, Executor):
        raise TypeError(f"executor: expected a name or an object with run, __enter__ and __exit__, got {type(wanted).__name__}")
    if workers is not None:
        raise ValueError(f"processes: {type(wanted).__name__} decides by itself how many there are, got {workers}")
    return wanted


def windowed(
    items: Iterable[T], size: int, submit: Callable[[T], Any], wait: Callable[[list[Any]], Iterable[Any]]
) -> Iterator[tuple[int, Any]]:
    """Keep ``size`` items under way and yield (index, handle) as they finish, in order where several have; an executor's loop.

    Args:
        items: taken one by one, as others finish.
        size: how many may be under way.
        submit: begins an item and returns a handle.
        wait: returns those of some handles that have finished, at least one.
    """
    numbered = enumerate(items)
    under_way: dict[Any, int] = {}

    def begin() -> None:
        for index, item in numbered:
            under_way[submit(item)] = index
            return

    for _ in range(size):
        begin()
    while under_way:
        for handle in sorted(wait(list(under_way)), key=under_way.__getitem__):
            index = under_way.pop(handle)
            begin()
            yield index, handle


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_thread() -> AbstractContextManager[None]:
    """One torch thread: sums over several threads would round differently from machine to machine."""
    return threads(1)
