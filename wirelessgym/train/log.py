"""Logs of a run: CSV files for everybody, and TensorBoard's events."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

STEPS = ("step", "seconds", "task", "loss", "learning_rate", "gradient_norm", "episodes")
VALIDATIONS = ("step", "seconds", "task", "metric", "value", "episodes")


class Log:
    """Writes ``log.csv``, ``validation.csv`` and ``tensorboard/`` in a run's folder. To be used in a ``with`` block.

    Args:
        folder: of the run.
        step: steps that are done; rows of what comes after them, which a cut-off run may have left, go.
    """

    def __init__(self, folder: Path, step: int) -> None:
        writer = _summary_writer()
        first = step + 1 if step else 0  # a run's start is validated as step 0, anew
        self._steps = _Rows(folder / "log.csv", STEPS, first)
        self._validations = _Rows(folder / "validation.csv", VALIDATIONS, first)
        self._events = writer(folder / "tensorboard", purge_step=first)

    def step(self, step: int, seconds: float, task: str, loss: float, rate: float, norm: float, episodes: int) -> None:
        """Log an update: the loss before it, gradient norm before clipping, training episodes so far."""
        self._steps.write((step, f"{seconds:.3f}", task, loss, rate, norm, episodes))
        for tag, value in ((f"loss/{task}", loss), ("learning_rate", rate), ("gradient_norm", norm)):
            self._events.add_scalar(tag, value, step)

    def validation(self, step: int, seconds: float, task: str, metric: str, value: float, episodes: int) -> None:
        """Log a validated metric."""
        self._validations.write((step, f"{seconds:.3f}", task, metric, value, episodes))
        self._events.add_scalar(f"validation/{task}/{metric}", value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Close all files."""
        self._steps.close()
        self._validations.close()
        self._events.close()


class _Rows:
    """A CSV file that is complete up to the last row at any time; floats stand in it to the last bit.

    Rows of steps from ``first`` on, which are to be written anew, are dropped.
    """

    def __init__(self, path: Path, header: Sequence[str], first: int) -> None:
        kept: list[list[str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                kept = [row for row in list(csv.reader(file))[1:] if len(row) == len(header) and int(row[0]) < first]
        partial = path.with_suffix(".partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *kept])
        os.replace(partial, path)
        self._file = path.open("a", newline="", encoding="utf-8", buffering=1)
        self._writer = csv.writer(self._file)

    def write(self, row: Sequence[object]) -> None:
        self._writer.writerow(row)

    def close(self) -> None:
        self._file.close()


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(f"training logs to TensorBoard: pip install 'wirelessgym[train]' ({error})") from None
    return SummaryWriter
