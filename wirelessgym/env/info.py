"""Infos of a batch of environments as Gymnasium's ``SyncVectorEnv`` lays them out: entries with a mask ``_name``."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from wirelessgym.env.entries import Array, Obs, one

Infos: TypeAlias = dict[str, Any]


def masked(metrics: dict[str, Array], mask: Array) -> Infos:
    """Return the metrics of the rows in ``mask`` (bool), zero elsewhere, each with its mask."""
    infos: Infos = {}
    everywhere = mask.all()
    for key, value in metrics.items():
        rows = mask.reshape(-1, *[1] * (value.ndim - 1))
        infos[key] = value if everywhere else np.where(rows, value, value.dtype.type(0))
        infos[f"_{key}"] = mask.copy()
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
