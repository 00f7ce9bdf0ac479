"""``wirelessgym compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wirelessgym.cli.arguments import Pictures, Settings, allow_modules_here, new_folder, overrides, write_reports
from wirelessgym.cli.errors import reports_errors

EPILOG = (
    "Examples:\n\n"
    "[bold]wirelessgym compare precoding --agents zf,rzf,wmmse:iterations=20 --episodes 500[/]\n\n"
    "[bold]wirelessgym compare detection --sweep snr_db=0:20:5 --set num_users=8[/]\n\n"
    "[bold]wirelessgym compare precoding --agents wmmse,my_module:MyAgent --reference wmmse[/]"
)


def add_to(app: typer.Typer) -> None:
    """Add the command to a command line."""
    app.command(epilog=EPILOG)(compare)


@reports_errors
def compare(
    task: Annotated[str, typer.Argument(help="Task id.")],
    agents: Annotated[
        list[str] | None,
        typer.Option(
            help="Comma-separated agents; options as id:option=value, your own as module:name. "
            "Default: every non-learned agent except ml."
        ),
    ] = None,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Comma-separated scenario ids or TOML files; default: the task's own.")
    ] = None,
    episodes: Annotated[int, typer.Option(help="Episodes for each agent at each point.")] = 256,
    seed: Annotated[int | None, typer.Option(help="Seed of all episodes. Default: 7.", show_default=False)] = None,
    seed_file: Annotated[
        Path | None, typer.Option(help="Text file that a secret seed is made of; records name it by a digest.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Reference agent for differences; default: the first.")] = None,
    sweep: Annotated[
        str | None, typer.Option(metavar="FIELD=START:STOP:STEP", help="Field to sweep; also FIELD=VALUE,VALUE.")
    ] = None,
    settings: Settings = None,
    processes: Annotated[int | None, typer.Option(help="Number of processes; default: chosen automatically.")] = None,
    executor: Annotated[
        str | None,
        typer.Option(metavar="[here|processes|ray]", help="Who works; default: local processes where they pay."),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Play every n-th block only, and keep it in --out, which all parts share.")
    ] = None,
    isolated: Annotated[
        bool, typer.Option("--isolated", help="Give agents from elsewhere no folder, no environment, no state (see README).")
    ] = False,
    agent_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Longest wait for an answer of an agent from elsewhere.")
    ] = 600.0,
    deadline_ms: Annotated[
        float | None, typer.Option(help="Time limit for each decision; late answers are replaced by the fallback's.")
    ] = None,
    fallback: Annotated[
        str | None, typer.Option(help="Agent whose actions replace late answers; default: the task's own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output folder; naming the same one again continues an interrupted run. Default: runs/...")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the report.")] = None,
    pictures: Pictures = True,
    progress: Annotated[bool, typer.Option(help="Show progress.")] = True,
) -> None:
    """Compare agents on the same episodes; writes records, report.html, report.md and results.csv."""
    from wirelessgym.evaluate import compare as run
    from wirelessgym.evaluate.seeds import SecretSeed
    from wirelessgym.options import split
    from wirelessgym.registry import task_class

    allow_modules_here()
    scenarios: list[str | Path] | None = list(split(scenario)) if scenario else None
    if seed is not None and seed_file is not None:
        raise ValueError("--seed and --seed-file: expected one of them, got both")
    if shard is not None and out is None:
        raise ValueError("--shard: the parts of a comparison meet in a folder; name it with --out")
    folder = out or new_folder(task, scenarios or [task_class(task).default_scenario])
    try:
        table = run(
            task,
            split(agents) if agents else None,
            scenarios,
            episodes,
            SecretSeed.read(seed_file) if seed_file is not None else 7 if seed is None else seed,
            reference=reference,
            sweep=sweep,
            processes=processes,
            executor=executor,
            shard=shard,
            isolated=isolated,
            agent_timeout_s=agent_timeout,
            deadline_s=None if deadline_ms is None else deadline_ms / 1e3,
            fallback=fallback,
            out=folder,
            progress=progress,
            **overrides(settings, run),
        )
    except KeyboardInterrupt:
        if out is None:
            typer.echo(f"Add --out {folder} to the same command to continue from here.", err=True)
        raise
    if table.records:
        write_reports(table.records, folder, title, pictures)
    raise typer.Exit(table.exit_code)
