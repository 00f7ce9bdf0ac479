"""Arguments that commands share, and what follows from them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Scenario = Annotated[str | None, typer.Option("--scenario", help="Scenario id or TOML file; default: the task's own.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a scenario field or task option; repeatable."),
]
Pictures = Annotated[bool, typer.Option(help="Let the best agents play an episode and draw it in the report.")]
Seed = Annotated[int, typer.Option(help="Seed of all episodes.")]


def overrides(settings: list[str] | None, target: Callable[..., object] | None = None) -> dict[str, Any]:
    """Parse ``--set``; refuse keys that are options of the command, which ``target`` has as parameters."""
    from inspect import Parameter, signature

    from wirelessgym.scenario import parse_assignment

    found = dict(parse_assignment(text) for text in settings or ())
    parameters = signature(target).parameters.values() if target else ()
    taken = {parameter.name for parameter in parameters if parameter.kind is not Parameter.VAR_KEYWORD}
    for key in found:
        if key in taken:
            raise ValueError(
                f"--set {key}: this is no field or option of the task but an argument of the command, use {_flag(key)}"
            )
    return found


def _flag(key: str) -> str:
    """How a parameter of a comparison is given on the command line."""
    return {"task": "TASK", "deadline_s": "--deadline-ms", "agent_timeout_s": "--agent-timeout"}.get(
        key, f"--{key.replace('_', '-')}"
    )


def allow_modules_here() -> None:
    """Let ``module:name`` find modules in the current folder, and Gymnasium find our environments.

    The folder comes last, here and in worker processes: a ``random.py`` in it doesn't stand in for Python's own.
    """
    from wirelessgym import register_envs

    here = os.getcwd()
    sys.path[:] = [*(folder for folder in sys.path if folder not in ("", here)), here]
    register_envs()


def new_folder(task: str, scenarios: list[str | Path]) -> Path:
    """Name a folder in ``runs`` that doesn't exist yet."""
    from datetime import datetime

    names = "+".join(Path(str(scenario)).stem for scenario in scenarios)
    return Path("runs") / f"{task}-{names}-{datetime.now():%Y%m%d-%H%M%S}"


def write_reports(records: list[Any], folder: Path, title: str | None, pictures: bool = True) -> None:
    """Write report.html, report.md and results.csv, and say where."""
    from wirelessgym.report import write_csv, write_html, write_markdown

    write_markdown(records, folder / "report.md", title)
    write_csv(records, folder / "results.csv")
    page = write_html(records, folder / "report.html", title, pictures)
    typer.echo(f"Report: {page}")
