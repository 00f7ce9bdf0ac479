"""Errors about a request, in one line and with the exit codes that the command line promises."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec

import typer

from wirelessgym.registry import UnknownIdError

P = ParamSpec("P")


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn errors about the request into one line on stderr and exit code 2, and Ctrl-C into exit code 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except (UnknownIdError, ValueError, TypeError, ImportError, OSError) as error:
            if os.environ.get("WIRELESSGYM_TRACEBACK"):
                raise
            typer.echo(f"wirelessgym: {_in_words(error)}", err=True)
            raise typer.Exit(2) from None

    return run


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)
