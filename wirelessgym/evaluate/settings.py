"""What an agent may know of its task while it is compared: the settings, not the episodes."""

from __future__ import annotations

from typing import Any, cast

from wirelessgym.task import Task

# With these an agent could draw the episodes that it is scored on, and look at their true channels.
OUT_OF_REACH = frozenset({"reset", "score", "advance", "step", "bound", "bound_metrics", "terminated", "render", "channel"})


class _Settings:
    """Stands in for a task: its fields, options, scenario and constants can be read, nothing can be drawn or scored."""

    __slots__ = ("__read",)

    def __init__(self, task: Task) -> None:
        object.__setattr__(self, "_Settings__read", lambda name: getattr(task, name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in OUT_OF_REACH or name.endswith("_bound"):
            raise AttributeError(f"agents see a task's settings and observations; {name!r} is out of their reach")
        return self.__read(name)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"agents don't change their task: {name!r}")


def settings_of(task: Task) -> Task:
    """Return ``task`` as an agent sees it; everything but settings raises AttributeError."""
    return cast(Task, _Settings(task))
