"""Export: the first observations of numbered episodes as a file, for tools that want arrays rather than an environment.

The file holds what an agent sees and nothing else: no clean channels, no transmitted symbols, no future slots. Scores
come from stepping the task, which the settings in the file are enough to build again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from wirelessgym.fields import Obs, concatenate
from wirelessgym.io import write_atomically
from wirelessgym.options import whole_number
from wirelessgym.task import Task

BATCH = 64


def export(task: Task, path: Path, episodes: int, seed: int) -> Path:
    """Write the first observation of episodes 0 to ``episodes - 1``, complex64 and float32, episode axis first.

    Args:
        task: the task in its scenario.
        path: ``.npz`` (settings as JSON in the entry ``settings``) or ``.h5`` (settings as the attribute ``settings``).
        episodes: how many, at least 1.
        seed: seed of the episodes.

    Raises:
        ValueError: for another ending or no episodes.
        TypeError: for a number of episodes that is no integer.
    """
    whole_number("episodes", episodes)
    if path.suffix not in (".npz", ".h5"):
        raise ValueError(f"export writes .npz or .h5, got {path.name!r}")
    if episodes < 1:
        raise ValueError(f"episodes: expected at least 1, got {episodes}")
    batches = list(_batches(task, episodes, seed))
    together = concatenate(batches)
    arrays = {name: value.numpy() if isinstance(value, torch.Tensor) else np.array(value) for name, value in together.items()}
    settings = json.dumps(
        {
            "task": task.id,
            "seed": seed,
            "episodes": episodes,
            "scenario": task.scenario.model_dump(mode="json"),
            "fields": {f.name: {"unit": f.unit, "meaning": f.meaning} for f in task.observation_fields},
        }
    )
    with write_atomically(path) as partial:
        if path.suffix == ".npz":
            with partial.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, settings=np.array(settings), **arrays)
        else:
            _write_hdf5(partial, arrays, settings)
    return path


def _batches(task: Task, episodes: int, seed: int) -> Iterator[Obs]:
    for start in range(0, episodes, BATCH):
        _, obs = task.reset(episodes=range(start, min(start + BATCH, episodes)), seed=seed)
        yield obs


def _write_hdf5(path: Path, arrays: dict[str, np.ndarray[Any, Any]], settings: str) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["settings"] = settings
        for name, array in arrays.items():
            kind = h5py.string_dtype() if array.dtype.kind == "U" else array.dtype
            file.create_dataset(name, data=array.astype(kind), compression="gzip")
