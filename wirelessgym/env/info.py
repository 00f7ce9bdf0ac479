"""Infos of a batch of environments as Gymnasium's ``SyncVectorEnv`` lays them out: entries with a mask ``_name``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

import numpy as np

from wirelessgym.env.entries import Array, Obs, one

Infos: TypeAlias = dict[str, Any]


class LazyInfos(Infos):
    """A dict of infos that are worked out when somebody first looks: most callers train on rewards and never do."""

    _work: Callable[[], Infos] | None = None

    @classmethod
    def later(cls, work: Callable[[], Infos]) -> LazyInfos:
        """Return infos that ``work`` is asked for at the first look."""
        infos = cls(pending=None)  # not empty: json takes no further look at what is
        infos._work = work
        return infos

    def _look(self) -> None:
        if self._work is not None:
            work, self._work = self._work, None
            super().clear()
            super().update(work())

    def __reduce__(self) -> tuple[type[Infos], tuple[Infos]]:
        """Copies and pickles are plain dicts."""
        return dict, ({**self},)


def _looking(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def looked(self: LazyInfos, *arguments: Any, **named: Any) -> Any:
        self._look()
        return method(self, *arguments, **named)

    return looked


# With an __iter__ of its own, a dict is read by its methods everywhere: dict(infos), {**infos} and the like find all entries.
for _name in (
    *("__contains__", "__delitem__", "__eq__", "__getitem__", "__ior__", "__iter__", "__len__", "__ne__", "__or__", "__repr__"),
    *("__reversed__", "__ror__", "__setitem__", "clear", "copy", "get", "items", "keys", "pop", "popitem", "setdefault"),
    *("update", "values"),
):
    setattr(LazyInfos, _name, _looking(getattr(dict, _name)))


def masked(metrics: dict[str, Array], mask: Array) -> Infos:
    """Return the metrics of the rows in ``mask`` (bool), zero elsewhere, each with its mask."""
    infos: Infos = {}
    everywhere = mask.all()
    for (key, value), own_mask in zip(metrics.items(), np.tile(mask, (len(metrics), 1)), strict=True):
        rows = mask.reshape(-1, *[1] * (value.ndim - 1))
        infos[key] = value if everywhere else np.where(rows, value, value.dtype.type(0))
        infos[f"_{key}"] = own_mask
    return infos


def with_final(obs: Obs, metrics: dict[str, Array], done: Array) -> Infos:
    """Return the infos of a step in which the rows in ``done`` (bool, at least one) ended and began anew.

    ``final_obs`` is an array of objects: the last observation of each row that ended, a dict without batch axis.
    """
    last = np.full(len(done), None, dtype=object)
    for row in np.flatnonzero(done).tolist():
        last[row] = one(obs, row)
    final = {
        "final_obs": last,
        "_final_obs": done.copy(),
        "final_info": masked(metrics, done),
        "_final_info": done.copy(),
    }
    return final if done.all() else final | masked(metrics, ~done)
