"""Heads by task: those of this package, one file per task in the folder of a preset, and those of other packages.

Another package adds a head by an entry point of the group ``wirelessgym.heads`` whose name is the task's id and whose value is a
`Head`. A task that extends another one uses that one's head unless it has its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeAlias

from wirelessgym.spec import TaskSpec

from .base import Head

__all__ = ["GROUP", "PRESETS", "GivenHeads", "Head", "foreign_tasks", "head_class", "head_id", "known_tasks"]

GROUP = "wirelessgym.heads"
PRESETS = ("classical_init", "paper")

GivenHeads: TypeAlias = Mapping[str, type[Head] | str]  # task id to a class, or "module:name" of one


def known_tasks() -> tuple[str, ...]:
    """Ids of the tasks that have a head; imports none of them."""
    return tuple(sorted({*_built_in(PRESETS[0]), *(point.name for point in _entry_points())}))


def foreign_tasks() -> tuple[str, ...]:
    """Ids of the tasks whose head is another package's; imports none of them."""
    return tuple(sorted({point.name for point in _entry_points()}))


def head_id(task: TaskSpec, given: GivenHeads) -> str:
    """Return the id under which a task's head is known: its own, or that of the nearest task it extends that has a head.

    Raises:
        ValueError: if there is none; the message says how to add one.
    """
    known = {*known_tasks(), *given}
    for name in task.family:
        if name in known:
            return name
    raise ValueError(
        f"no head for task {task.id!r}; add one by an entry point {task.id!r} in the group {GROUP!r}, "
        f"or give extra_heads={{{task.id!r}: its class}}; known: {', '.join(sorted(known))}"
    )


def head_class(name: str, preset: str, given: GivenHeads) -> type[Head]:
    """Return the head of a task: a given one, that of the preset, or another package's.

    Args:
        name: id of the task, as `head_id` returns it.
        preset: name of a folder beside this file.
        given: heads that go before all others.

    Raises:
        ValueError: if the preset has no such head, or two packages claim it.
        TypeError: for anything but a `Head`.
        ImportError: for a given head whose module or name doesn't exist.
    """
    if name in given:
        return _checked(_named(given[name]), f"extra_heads: {name}")
    claims = [point for point in _entry_points() if point.name == name]
    claimed_by = [_owner(point) for point in claims] + ["wirelessgym"] * (name in _built_in(PRESETS[0]))
    if len(claimed_by) > 1:
        raise ValueError(f"heads: expected one head for {name!r}, got several: from {', '.join(sorted(claimed_by))}; remove one")
    if claims:
        return _checked(claims[0].load(), f"entry point {name!r} of {GROUP}")
    if name not in _built_in(preset):
        raise ValueError(f"preset: {preset!r} has no head for {name!r}; it would be in {preset}/{name}.py")
    module = importlib.import_module(f"{__name__}.{preset}.{name}")
    own = (value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__)
    found = [value for value in own if inspect.isclass(value) and issubclass(value, Head)]
    if len(found) != 1:
        raise TypeError(f"{preset}/{name}.py: expected one subclass of Head, found {len(found)}")
    return found[0]


@cache
def _folder(preset: str) -> Iterable[str]:
    spec = importlib.util.find_spec(f"{__name__}.{preset}")
    return () if spec is None else spec.submodule_search_locations or ()


def _built_in(preset: str) -> set[str]:
    return {module.name for module in pkgutil.iter_modules(_folder(preset)) if not module.name.startswith("_")}


def _entry_points() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value


def _named(head: type[Head] | str) -> object:
    if not isinstance(head, str):
        return head
    module, _, name = head.partition(":")
    found: object = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ImportError(f"extra_heads: expected 'module:class', got {head!r}: {module} has no {name!r}")
        found = getattr(found, part)
    return found


def _checked(found: object, where: str) -> type[Head]:
    if not (inspect.isclass(found) and issubclass(found, Head)):
        raise TypeError(f"{where}: expected a subclass of wirelessgym.agents.universal.heads.Head, got {found!r}")
    return found
