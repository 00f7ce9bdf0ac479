"""A progress bar for work in numbered steps: where it stands, what it says of itself, and how long is left."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressBar:
    """Shows steps on stderr. To be used in a ``with`` block.

    Args:
        wanted: False for silence; True shows lines everywhere, and the bar where stderr is a terminal.
        name: of what is shown.
        step: steps that are done.
        steps: all steps.
    """

    def __init__(self, wanted: bool, name: str, step: int, steps: int) -> None:
        self._wanted = wanted
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps, {task.fields[note]}"))
        times = (TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
        disabled = not (wanted and self._console.is_terminal)
        self._bar = Progress(*columns, *times, console=self._console, transient=True, disable=disabled)
        self._shown = self._bar.add_task(name, total=steps, completed=step, note="")

    def step(self, step: int, note: str) -> None:
        """Show that ``step`` steps are done, with a note beside the bar."""
        self._bar.update(self._shown, completed=step, note=note)

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
