"""``wirelessgym models``: list, install and verify."""

from __future__ import annotations

from typing import Annotated

import typer

from wirelessgym.cli.errors import reports_errors

app = typer.Typer(help="List, install and verify trained models and the language models under them.", invoke_without_command=True)


@app.callback()
def _models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


@app.command("list")
@reports_errors
def list_models() -> None:
    """List the trained models that come with this package, and the language models to build on."""
    from wirelessgym.models import backbone_lines, checkpoint_lines

    none = "No trained models come with this version; the baselines of 'wirelessgym list agents' need none."
    for heading, lines in (("trained models", checkpoint_lines), ("language models", backbone_lines)):
        typer.secho(heading, bold=True)
        for line in lines() or [none]:
            typer.echo(f"  {line}")


@app.command("install")
@reports_errors
def install_model(name: Annotated[str, typer.Argument(help="A language model of 'wirelessgym models list'.")]) -> None:
    """Make a language model ready for use."""
    from wirelessgym.models import install

    typer.echo(f"{name}: {install(name)}")


@app.command("verify")
@reports_errors
def verify_models(name: Annotated[str | None, typer.Argument(help="One model; default: all that are installed.")] = None) -> None:
    """Check the weights of models against their SHA-256."""
    from wirelessgym.models import verify

    found = verify(name)
    if not found:
        typer.echo("No models are installed, nothing to verify.")
    for one, problems in found:
        mark = typer.style("PROBLEM ", fg="red") if problems else typer.style("ok      ", fg="green")
        typer.echo(f"{mark}{one}{': ' if problems else ''}{'; '.join(problems)}")
    raise typer.Exit(int(any(problems for _, problems in found)))
