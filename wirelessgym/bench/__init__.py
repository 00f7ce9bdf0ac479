"""Speed, measured as ratios of two things in one run: `wirelessgym bench`. What is timed lies in ``subjects``, one file each."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

from wirelessgym.registry import UnknownIdError
from wirelessgym.suggest import hint

_FOLDER = Path(__file__).parent / "subjects"


def available() -> dict[str, str]:
    """Return each subject with a line on it, without importing any."""
    files = sorted(path for path in _FOLDER.glob("*.py") if not path.stem.startswith("_"))
    return {
        path.stem: (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0] for path in files
    }


def run(subject: str | None = None, fast: bool = False, out: Path | None = None) -> list[Any]:
    """Time one subject, or those that are timed by default; print tables and return their rows.

    Args:
        subject: see `available`.
        fast: smaller sizes and fewer repeats, for a first look; the numbers are not the ones to quote.
        out: file for the rows, for a subject that writes one.

    Raises:
        UnknownIdError: for an unknown subject.
        ValueError: for ``out`` with a subject that writes no file.
    """
    known = available()
    if subject is not None and subject not in known:
        raise UnknownIdError(f"no subject of bench is called {subject!r}; {hint(subject, known)}")
    modules = {name: importlib.import_module(f"{__name__}.subjects.{name}") for name in known}
    writing = [name for name, module in modules.items() if "out" in inspect.signature(module.bench).parameters]
    if out is not None and subject not in writing:
        raise ValueError(f"--out belongs to 'bench {' or '.join(writing)}', which writes a file, got {subject or 'no argument'}")
    chosen = [modules[subject]] if subject else [module for module in modules.values() if getattr(module, "BY_DEFAULT", False)]
    options = {} if out is None else {"out": out}
    return [row for module in chosen for row in module.bench(fast, **options)]
