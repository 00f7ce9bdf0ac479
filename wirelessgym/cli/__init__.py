"""The command line: ``wirelessgym list | compare | train | report | check | doctor | bench | export | models``.

Commands import what they need when they run, so that help and ``list`` answer at once. Exit codes: 0 success, 1 an agent
failed or a check found a problem, 2 the request was wrong, 130 Ctrl-C, SIGTERM or SIGHUP. Errors about the request are one
line; with ``WIRELESSGYM_TRACEBACK=1`` in the environment they come with their traceback.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wirelessgym import __version__
from wirelessgym.cli import compare_command, models_command
from wirelessgym.cli.arguments import Pictures, Scenario, Seed, Settings, allow_modules_here, new_folder, overrides, write_reports
from wirelessgym.cli.errors import reports_errors

if TYPE_CHECKING:
    from wirelessgym.check.findings import Finding

app = typer.Typer(
    name="wirelessgym",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Link-level wireless environments on Sionna channels, with classical baselines and honest comparison.",
    epilog="First steps:  [bold]wirelessgym list[/]   ·   [bold]wirelessgym compare precoding[/]   ·   "
    "[bold]wirelessgym doctor[/]",
)


def main() -> None:
    """Run the command line; the entry point ``wirelessgym``. A request to end is answered as Ctrl-C is."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # with nohup, a hang-up is ignored
            signal.signal(number, signal.default_int_handler)
    try:
        app()
    finally:
        if (orphans := sys.modules.get("wirelessgym.parallel.orphans")) is not None:  # nothing was started otherwise
            orphans.end_trackers()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wirelessgym {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version


@app.command("list", epilog="Example:  [bold]wirelessgym list agents --task precoding[/]")
@reports_errors
def list_(
    kind: Annotated[
        str | None, typer.Argument(metavar="[tasks|scenarios|agents]", help="One kind; default: all.", show_default=False)
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only agents that do this task.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List tasks, scenarios and agents, one line each."""
    from wirelessgym.catalogue import catalogue
    from wirelessgym.registry import Kind, UnknownIdError, ids, task_class
    from wirelessgym.suggest import hint

    if task is not None and task not in ids("tasks"):
        task_class(task)  # refuses it, with a suggestion
    kinds: tuple[Kind, ...] = ("tasks", "scenarios", "agents")
    if kind is not None and kind not in kinds:
        raise UnknownIdError(f"no kind is called {kind!r}; {hint(kind, kinds)}")
    found = {name: catalogue(name) for name in kinds if kind in (None, name)}
    if task is not None and "agents" in found:
        found["agents"] = [agent for agent in found["agents"] if not agent.tasks or task in agent.tasks]
    if as_json:
        typer.echo(json.dumps({name: [vars(entry) for entry in entries] for name, entries in found.items()}, indent=2))
        return
    for name, entries in found.items():
        width = max((len(entry.id) for entry in entries), default=0)
        typer.secho(name, bold=True)
        for entry in entries:
            offered = f"  ({', '.join(entry.tasks)})" if entry.tasks else ""
            typer.echo(f"  {entry.id:<{width}}  {entry.description}{offered}")


compare_command.add_to(app)


@app.command(
    epilog="Examples:\n\n[bold]wirelessgym train my_run.toml --out runs/mine --set steps=500[/]\n\n"
    "[bold]wirelessgym train runs/mine/config.toml --out runs/mine --resume[/]"
)
@reports_errors
def train(
    config: Annotated[str, typer.Argument(help="Name of a configuration that comes with the agents, or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run. Default: runs/...")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the interrupted run in --out.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a key: steps=50, tasks.0.batch=8, tasks.*.batch=8; repeatable."
        ),
    ] = None,
    progress: Annotated[bool, typer.Option(help="Show progress.")] = True,
) -> None:
    """Train a learned agent; writes checkpoints, log.csv, validation.csv and TensorBoard events."""
    from wirelessgym.train import train as run

    allow_modules_here()
    if resume and out is None:
        raise ValueError("--resume continues the run in --out; name its folder")
    folder = out or new_folder("train", [config])
    agent = run(config, folder, resume, progress, overrides=settings or ())
    typer.echo(f"{agent.name}: {agent.num_parameters:,} weights trained, in {folder}")


@app.command(epilog="Example:  [bold]wirelessgym report runs/first runs/second --out runs/both[/]")
@reports_errors
def report(
    paths: Annotated[list[Path], typer.Argument(help="Folders that compare has written, or record files.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to; default: the first one.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the report.")] = None,
    pictures: Pictures = True,
) -> None:
    """Write report.html, report.md and results.csv from records."""
    from wirelessgym.record import read_record, read_records

    found = [record for path in paths for record in (read_records(path) if path.is_dir() else [read_record(path)])]
    write_reports(list({record.filename: record for record in found}.values()), out or _folder(paths[0]), title, pictures)


@app.command(
    epilog="Examples:\n\n[bold]wirelessgym check my_module:MyAgent --task precoding[/]\n\n"
    "[bold]wirelessgym check my_scenario.toml[/]"
)
@reports_errors
def check(
    target: Annotated[str, typer.Argument(help="module:name, an id, or a scenario's TOML file.")],
    task: Annotated[str | None, typer.Option(help="For agents: the task; default: each that it does.")] = None,
    scenario: Scenario = None,
    settings: Settings = None,
) -> None:
    """Run the public contract on an agent, a task or a scenario, and say what is wrong."""
    from wirelessgym.check.inspection import inspect_target

    allow_modules_here()
    problems = 0
    for heading, findings in inspect_target(target, task, scenario, overrides(settings)):
        typer.secho(heading, bold=True)
        problems += _print_findings(findings)
    typer.echo(f"{problems} problem{'s' * (problems != 1)} found." if problems else "All checks passed.")
    raise typer.Exit(int(problems > 0))


@app.command()
@reports_errors
def doctor() -> None:
    """Say what works on this machine, and how to get what doesn't."""
    from wirelessgym import register_envs
    from wirelessgym.doctor import examine, healthy

    register_envs()
    items = examine()
    width = max(len(item.name) for item in items)
    colours = {"ok": "green", "missing": "yellow", "broken": "red"}
    for item in items:
        typer.echo(typer.style(f"{item.status:<8}", fg=colours[item.status]) + f"{item.name:<{width}}  {item.detail}")
        if item.remedy:
            typer.echo(f"{'':8}{'':{width}}  -> {item.remedy}")
    raise typer.Exit(int(not healthy(items)))


@app.command(epilog="Example:  [bold]wirelessgym bench channel --fast[/]")
@reports_errors
def bench(
    what: Annotated[str | None, typer.Argument(help="What to time (see --list); default: channel and env.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Smaller sizes and fewer repeats.")] = False,
    out: Annotated[Path | None, typer.Option(help="JSON file for the results, where there is one.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Say what can be timed, and stop.")] = False,
) -> None:
    """Time things against what they replace or wrap: the channel layer against Sionna's own path, environments against tasks."""
    from wirelessgym import register_envs
    from wirelessgym.bench import available, run

    if listed:
        for name, line in available().items():
            typer.echo(f"{name:<16}{line}")
        return
    register_envs()
    run(what, fast, out)


@app.command(epilog="Example:  [bold]wirelessgym export channel_prediction --episodes 1000 --out data.h5[/]")
@reports_errors
def export(
    task: Annotated[str, typer.Argument(help="Task id.")],
    out: Annotated[Path, typer.Option(help="File to write, .npz or .h5.")],
    scenario: Scenario = None,
    episodes: Annotated[int, typer.Option(help="Episodes 0 to this minus 1.")] = 256,
    seed: Seed = 7,
    settings: Settings = None,
) -> None:
    """Write the first observation of each episode to a file.

    The file holds what an agent sees, complex64, and the settings: no clean channels, symbols or future slots.
    """
    from wirelessgym.export import export as write
    from wirelessgym.registry import make_task

    path = write(make_task(task, scenario, **overrides(settings)), out, episodes, seed)
    typer.echo(f"{path}: {episodes} episodes of {task}, seed {seed}")


app.add_typer(models_command.app, name="models")


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _print_findings(findings: list[Finding]) -> int:
    for finding in findings:
        mark = typer.style("ok      ", fg="green") if finding.ok else typer.style("PROBLEM ", fg="red")
        typer.echo(f"  {mark}{finding.sentence}")
        if not finding.ok and finding.hint:
            typer.echo(f"          {finding.hint}")
    return sum(not finding.ok for finding in findings)
