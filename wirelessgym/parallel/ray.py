"""Ray, for those who outgrow a machine (extra ``ray``): a cluster that is there already, or one of this machine's cores."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Self, TypeVar

import cloudpickle

from wirelessgym.parallel import WorkerError, windowed

T = TypeVar("T")
S = TypeVar("S")
R = TypeVar("R")


class Ray:
    """Works on a Ray cluster: the one that is connected or that ``RAY_ADDRESS`` names, else one on this machine.

    Its nodes need this package, and modules of agents that are named as ``module:name``; Ray ends its processes itself.

    Args:
        workers: cores of a cluster that is started here; None for all.

    Raises:
        ImportError: without Ray.
    """

    def __init__(self, workers: int | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError(f"executor 'ray' needs the package ray: pip install 'wirelessgym[ray]' ({error})") from None
        self._ray: Any = ray
        self._workers = workers
        self._entered = 0
        self._ours = False

    def run(self, function: Callable[[T, S], R], items: Iterable[T], shared: S) -> Iterator[tuple[int, R]]:
        """See `Executor.run`. The shared value lies in Ray's object store once, and each worker takes it from there once."""
        ray = self._ray
        with self:
            work = ray.remote(num_cpus=1)(_work)
            path = [os.path.abspath(folder) for folder in sys.path]
            # Within a list, Ray leaves it to the worker to take it; as bytes, once the worker can import what they name.
            token, stored = uuid.uuid4().hex, [ray.put((path, cloudpickle.dumps(shared)))]
            cores = int(ray.cluster_resources().get("CPU", 1))
            under_way = windowed(
                items,
                2 * cores,
                lambda item: work.remote(cloudpickle.dumps((function, item)), token, stored),
                lambda handles: ray.wait(handles, num_returns=1)[0],
            )
            for index, handle in under_way:
                try:
                    result = ray.get(handle)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except ray.exceptions.RayError as error:
                    raise WorkerError(f"a worker of Ray ended while it worked: {str(error).splitlines()[0]}") from error
                yield index, result

    def __enter__(self) -> Self:
        self._entered += 1
        if self._entered == 1 and not self._ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            here = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": self._workers, "include_dashboard": False}
            self._ray.init(log_to_driver=False, logging_level="ERROR", **here)
            self._ours = True
        return self

    def __exit__(self, *exception: object) -> None:
        """Disconnect when the outermost block ends, and end the cluster if it was started here."""
        self._entered -= 1
        if not self._entered and self._ours:
            self._ray.shutdown()
            self._ours = False


def _work(packed: bytes, token: str, stored: list[Any]) -> Any:
    shared = _shared(_Once(token, stored))
    function, item = cloudpickle.loads(packed)
    return function(item, shared)


class _Once:
    """A reference that equals others of the same run, however often it is sent."""

    def __init__(self, token: str, stored: list[Any]) -> None:
        self.token, self.stored = token, stored

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Once) and self.token == other.token

    def __hash__(self) -> int:
        return hash(self.token)


@lru_cache(maxsize=1)
def _shared(once: _Once) -> Any:
    import ray

    path, packed = ray.get(once.stored[0])
    sys.path.extend(folder for folder in path if folder not in sys.path)
    return cloudpickle.loads(packed)
