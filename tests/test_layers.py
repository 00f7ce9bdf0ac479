"""Imports go down the layers only; the contracts stand in pyproject.toml, [tool.importlinter]."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")

# Importing by a computed name hides an import from the contracts; these do it, for ids, plug-ins and optional packages.
IMPORT_BY_NAME = {
    "wirelessgym/__init__.py",
    "wirelessgym/bench/__init__.py",
    "wirelessgym/doctor.py",
    "wirelessgym/registry.py",
    "wirelessgym/scenario/kinds.py",
    "wirelessgym/agent_names.py",
    "agents/_sionna.py",
    "agents/universal/heads/__init__.py",
    "agents/universal/nf4.py",
}


def lint_imports(folder, *options):
    command = [LINT_IMPORTS, "--no-cache", "--no-logo", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layers")
    for package in ("wirelessgym", "agents"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_imports_go_down_only():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("contract", "file", "line"),
    [
        ("layers", "wirelessgym/fields.py", "from wirelessgym.scenario import Scenario"),
        ("layers", "wirelessgym/channel/rays.py", "from wirelessgym.task import Task"),
        ("layers", "wirelessgym/task.py", "from wirelessgym.agent import Agent"),
        ("layers", "wirelessgym/agent.py", "from wirelessgym.registry import ids"),
        ("layers", "wirelessgym/report.py", "from wirelessgym.cli import app"),
        ("layers", "wirelessgym/unplaced.py", ""),
        ("agents", "agents/mrt.py", "from wirelessgym.registry import make_agent"),
        ("core-knows-no-agent", "wirelessgym/evaluate.py", "from agents.mrt import MRT"),
        ("core-knows-no-task", "wirelessgym/evaluate.py", "from wirelessgym.tasks.precoding import Precoding"),
        ("core-knows-no-kind", "wirelessgym/record.py", "from wirelessgym.channel.kinds.cdl import CDL"),
        ("sionna", "wirelessgym/tasks/precoding.py", "import sionna.phy"),
        ("sionna", "agents/mrt.py", "import sionna.phy"),
        ("gymnasium", "wirelessgym/task.py", "import gymnasium"),
        ("tensorflow", "wirelessgym/agent.py", "import tensorflow"),
    ],
)
def test_an_import_that_breaks_a_layer_is_caught(copy, contract, file, line):
    path = copy / file
    before = path.read_text() if path.exists() else None
    try:
        path.write_text(f"{before or ''}\n{line}\n")
        done = lint_imports(copy, "--contract", contract)
    finally:
        path.unlink() if before is None else path.write_text(before)
    assert done.returncode == 1, done.stdout + done.stderr
    assert path.stem in done.stdout


def test_imports_by_computed_name_are_few_and_known():
    found = set()
    for path in [*(ROOT / "wirelessgym").rglob("*.py"), *(ROOT / "agents").rglob("*.py")]:
        called = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        names = {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in called}
        if names & {"import_module", "__import__"}:
            found.add(path.relative_to(ROOT).as_posix())
    assert found == IMPORT_BY_NAME


@pytest.mark.parametrize("arguments", [["--help"], ["list"]])
def test_help_and_list_import_neither_torch_nor_sionna(arguments):
    program = (
        "import sys; sys.argv = ['wirelessgym', *sys.argv[1:]]\n"
        "from wirelessgym.cli import app\n"
        "app(standalone_mode=False)\n"
        "print('loaded:', sorted({'torch', 'sionna', 'gymnasium', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("loaded: []\n"), done.stdout + done.stderr


def test_the_package_itself_loads_no_tensorflow():
    program = "import sys, wirelessgym.evaluate, wirelessgym.env; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "False\n", done.stderr
