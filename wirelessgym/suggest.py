"""Suggestions: what somebody probably meant, for errors about names that don't exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``name``, None where none is alike."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def hint(name: str, known: Iterable[str], *, prefix: str = "", known_as: str = "known") -> str:
    """Return ``did you mean 'wmmse'?``, or all that is known where nothing is alike.

    Args:
        name: what was asked for.
        known: what there is.
        prefix: stands before the suggestion: ``"panel."`` for a key of a table.
        known_as: introduces the list.
    """
    known = list(known)
    close = closest(name, known)
    return f"did you mean {prefix + close!r}?" if close else f"{known_as}: {', '.join(known) or 'none'}"
