"""What is installed is what git lists, and the lock file is what pyproject.toml asks for."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import wirelessgym

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOLDERS = {"wirelessgym": "wirelessgym", "agents": "wirelessgym/agents", "scenarios": "wirelessgym/scenarios"}
LOCKS = ("requirements.lock", "requirements-tensorflow.lock", "requirements-ray.lock")


def listed_by_git():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is no git checkout")
    return [Path(line) for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def run(command, folder, environment=None):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pinned(lock):
    lines = [line for line in (ROOT / lock).read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def asked_for(*extras):
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(line) for entries in lists for line in entries]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel made from a source distribution made from the files git lists: both ways can lose a file."""
    source = tmp_path_factory.mktemp("source")
    for path in listed_by_git():
        if path.parts[0] in FOLDERS or path.parent == Path():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes((ROOT / path).read_bytes())
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist"], source)
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_every_file_that_git_lists_and_no_other(wheel):
    expected = {str(Path(FOLDERS[path.parts[0]], *path.parts[1:])) for path in listed_by_git() if path.parts[0] in FOLDERS}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_agents_and_scenarios_are_found_in_an_install_away_from_the_sources(wheel, tmp_path):
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import wirelessgym, wirelessgym.agents\n"
        "from wirelessgym.registry import ids, make_agent\n"
        "print(wirelessgym.__file__)\n"
        "print(wirelessgym.agents.__file__)\n"
        "print(type(make_agent('mrt')).__module__)\n"
        "print('rayleigh-32' in ids('scenarios'))\n"
    )
    # -S and an explicit path leave out the editable install, whose finder would answer for the folders.
    site = str(Path(pytest.__file__).parents[1])
    lines = run([sys.executable, "-S", "-c", program, str(installed)], tmp_path, {"PYTHONPATH": site}).splitlines()
    assert Path(lines[0]).is_relative_to(installed)
    assert Path(lines[1]) == installed / "wirelessgym" / "agents" / "__init__.py"
    assert lines[2:] == ["wirelessgym.agents.mrt", "True"]


def test_a_bare_import_of_agents_is_refused_and_says_what_to_import_instead():
    done = subprocess.run([sys.executable, "-c", "import agents"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ImportError: import this package as wirelessgym.agents, not as agents" in done.stderr


def test_the_version_is_the_same_everywhere():
    assert wirelessgym.__version__ == PROJECT["version"]
    assert re.search(rf"^## \[{re.escape(PROJECT['version'])}\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize(("extras", "locks"), [(("dev", "rl"), LOCKS[:1]), (("dev", "rl", "tensorflow", "ray"), LOCKS)])
def test_the_lock_pins_what_the_project_asks_for_within_its_bounds(extras, locks):
    versions = {name: version for lock in locks for name, version in pinned(lock).items()}
    for requirement in asked_for(*extras):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_is_exact_and_the_same_on_every_machine(lock):
    for line in (ROOT / lock).read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line), line
    assert not {"pip", "wirelessgym", "triton"} & set(pinned(lock))
    assert not [name for name in pinned(lock) if name.startswith(("nvidia-", "cuda-"))]


@pytest.mark.parametrize("extra", LOCKS[1:])
def test_the_locks_share_no_package(extra):
    assert not set(pinned(LOCKS[0])) & set(pinned(extra))


def test_every_package_that_the_code_imports_is_asked_for():
    declared = {canonicalize_name(requirement.name) for requirement in asked_for("rl", "ray", "tensorflow", "train", "llm")}
    provides = {"tensorflow": "tensorflow-cpu", "keras": "tensorflow-cpu", "PIL": "pillow"}
    for path in [*(ROOT / "wirelessgym").rglob("*.py"), *(ROOT / "agents").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            else:
                continue
            for top in {module.partition(".")[0] for module in modules}:
                if top not in sys.stdlib_module_names | {"wirelessgym"}:
                    name = canonicalize_name(provides.get(top, top))
                    assert name in declared, f"{path.relative_to(ROOT)} imports {top}, which pyproject.toml doesn't name"
