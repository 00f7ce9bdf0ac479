"""Progress of a run: step, loss and time left on a terminal, and a line per validation everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from wirelessgym.task import Task


class Show:
    """Shows a run on stderr. To be used in a ``with`` block."""

    def __init__(self, wanted: bool, name: str, step: int, steps: int) -> None:
        self._wanted = wanted
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps, {task.fields[loss]}"))
        times = (TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
        disabled = not (wanted and self._console.is_terminal)
        self._bar = Progress(*columns, *times, console=self._console, transient=True, disable=disabled)
        self._shown = self._bar.add_task(name, total=steps, completed=step, loss="")

    def step(self, step: int, task: str, loss: float) -> None:
        """Show the loss of a step."""
        self._bar.update(self._shown, completed=step, loss=f"{task} loss {loss:.4g}")

    def validation(self, step: int, seconds: float, tasks: Mapping[str, Task], values: Mapping[str, float]) -> None:
        """Show validated headline metrics."""
        parts = []
        for label, value in values.items():
            metric = tasks[label].headline
            unit = "" if metric.unit == "1" else f" {metric.unit}"
            parts.append(f"{label} {metric.name} {value:.4g}{unit}")
        self.say(f"step {step}, {seconds:.0f} s: {', '.join(parts)}")

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._wanted:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """See `close`."""
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()
