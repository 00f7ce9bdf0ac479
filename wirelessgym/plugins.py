"""The one public class of a module: how a file that defines a task, an agent or a kind of channel is read."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def public_class(module: ModuleType, base: type[T]) -> type[T]:
    """Return the one class that ``module`` defines, extending ``base``, whose name has no leading underscore.

    Raises:
        ImportError: if there are none or several.
    """
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    ]
    if len(found) != 1:
        raise ImportError(f"{module.__name__} should define one public {base.__name__}, found {len(found)}")
    return found[0]
