"""The catalogue: tasks, scenarios and agents with one line on each, read from the files without importing them."""

from __future__ import annotations

import ast
import importlib.util
import tomllib
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from wirelessgym.io import read_toml
from wirelessgym.registry import Kind, ids


@dataclass(frozen=True)
class Listing:
    """One line of the catalogue.

    Attributes:
        id: of the task, scenario or agent.
        description: one line on it.
        tasks: for agents, ids of the tasks that it does; empty for any task, and for tasks and scenarios.
        package: the package that another party's entry comes from, None for built-in ones.
    """

    id: str
    description: str
    tasks: tuple[str, ...] = ()
    package: str | None = None


def catalogue(kind: Kind) -> list[Listing]:
    """List a kind in the registry's order."""
    spec = importlib.util.find_spec(f"wirelessgym.{kind}")
    folder = Path(next(iter(spec.submodule_search_locations or ()), ".")) if spec else Path()
    packages = {point.name: point for point in entry_points(group=f"wirelessgym.{kind}")}
    found = []
    for name in ids(kind):
        path = folder / (name + (".toml" if kind == "scenarios" else ".py"))
        if (folder / name / "__init__.py").is_file():
            path = folder / name / "__init__.py"
        if path.is_file():
            found.append(_scenario(path) if kind == "scenarios" else _module(name, path))
        else:
            point = packages[name]
            package = point.dist.name if point.dist else "another package"
            found.append(Listing(name, f"from {package} ({point.value})", package=package))
    return found


def _scenario(path: Path) -> Listing:
    try:
        description = str(read_toml(path).get("description", ""))
    except tomllib.TOMLDecodeError as error:
        description = f"not valid TOML: {error}"
    return Listing(path.stem, description)


def _module(name: str, path: Path) -> Listing:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lines = (ast.get_docstring(tree) or "").partition("\n\n")[0].split("\n")
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    return Listing(name, " ".join(lines).strip(), tuple(task for node in classes for task in _tasks(node)))


def _tasks(node: ast.ClassDef) -> tuple[str, ...]:
    """The class attribute ``tasks``, where it is written out."""
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        if value is not None and any(isinstance(t, ast.Name) and t.id == "tasks" for t in targets):
            try:
                return tuple(str(task) for task in ast.literal_eval(value))
            except ValueError:
                return ()
    return ()
