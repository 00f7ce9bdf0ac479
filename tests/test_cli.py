from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthetic import at_point, record
from typer.testing import CliRunner

from wirelessgym import __version__, make_task
from wirelessgym.cli import app
from wirelessgym.options import split
from wirelessgym.record import read_records, write_record
from wirelessgym.registry import ids

QUICK = ["--scenario", "rayleigh-32", "--episodes", "4", "--set", "horizon=1", "--no-progress", "--processes", "1"]


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "--json"], ["compare", "--help"], ["--version"]])
def test_help_and_list_import_no_heavy_package(arguments: list[str]) -> None:
    heavy = ("torch", "sionna", "gymnasium", "numpy", "matplotlib", "scipy", "jinja2")
    program = (
        "import sys\n"
        f"sys.argv = ['wirelessgym', *{arguments!r}]\n"
        "from wirelessgym.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('loaded', [name for name in {heavy!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("loaded []"), done.stdout[-300:]


def test_list_names_everything_with_a_line_on_it() -> None:
    found = json.loads(run("list", "--json"))
    assert {kind: [entry["id"] for entry in entries] for kind, entries in found.items()} == {
        kind: ids(kind) for kind in ("tasks", "scenarios", "agents")
    }
    text = run("list")
    assert all(entry["id"] in text and entry["description"] in text for entries in found.values() for entry in entries)


def test_a_kind_that_there_is_not_is_answered_in_one_line_with_the_nearest() -> None:
    result = CliRunner().invoke(app, ["list", "tsks"])
    assert (result.exit_code, result.stderr) == (2, "wirelessgym: no kind is called 'tsks'; did you mean 'tasks'?\n")


def test_list_of_agents_can_be_cut_down_to_a_task() -> None:
    names = [entry["id"] for entry in json.loads(run("list", "agents", "--task", "detection", "--json"))["agents"]]
    assert "oamp" in names and "random" in names and "wmmse" not in names


def test_version() -> None:
    assert run("--version").strip() == f"wirelessgym {__version__}"


def test_module_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "wirelessgym", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"wirelessgym {__version__}"


def test_compare_writes_a_folder_from_which_report_makes_the_same_page_again(tmp_path: Path) -> None:
    first = tmp_path / "first"
    text = run("compare", "precoding", "--agents", "zf,wmmse:iterations=3", *QUICK, "--out", str(first), "--title", "Mine")
    assert "wmmse" in text and f"Report: {first / 'report.html'}" in text
    assert {path.name for path in first.iterdir()} >= {"records", "report.html", "report.md", "results.csv"}
    assert {r.agent: r.agent_options.get("iterations") for r in read_records(first)}["wmmse"] == 3
    run("report", str(first), "--out", str(tmp_path / "second"), "--title", "Mine")
    pages = [(folder / "report.html").read_text() for folder in (first, tmp_path / "second")]
    assert ['href="records/"' in page for page in pages] == [True, False]  # the data lie beside the first alone
    assert len({re.sub(r"<dt>Data</dt>.*\n", "", page) for page in pages}) == 1
    assert (tmp_path / "second" / "report.md").read_text() == (first / "report.md").read_text()
    assert "<title>Mine</title>" in (first / "report.html").read_text()


def test_command_in_a_record_makes_it_again(tmp_path: Path) -> None:
    run("compare", "precoding", "--agents", "mrt,zf", *QUICK, "--sweep", "snr_db=0:10:10", "--out", str(tmp_path / "a"))
    wanted = [r for r in read_records(tmp_path / "a") if r.agent == "zf" and r.sweep and r.sweep.value == 10]
    words = wanted[0].command.split()
    assert words[0] == "wirelessgym"
    run(*words[1:], "--out", str(tmp_path / "b"))
    again = [r for r in read_records(tmp_path / "b") if r.agent == "zf"]
    assert [r.metrics for r in again] == [r.metrics for r in wanted]


def test_command_of_a_deadline_is_understood(tmp_path: Path) -> None:
    run("compare", "precoding", "--agents", "wmmse", *QUICK, "--deadline-ms", "1000", "--out", str(tmp_path / "a"))
    (found,) = (r for r in read_records(tmp_path / "a") if r.agent == "wmmse")
    assert found.deadline_s == 1.0
    run(*found.command.split()[1:], "--out", str(tmp_path / "b"))


def test_agent_that_fails_is_reported_and_gives_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("clumsy_agents.py").write_text("def clumsy(obs):\n    raise RuntimeError('dropped it')\n")
    text = run("compare", "precoding", "--agents", "zf,clumsy_agents:clumsy", *QUICK, "--out", "out", code=1)
    assert "dropped it" in text
    assert "dropped it" in Path("out/report.html").read_text()
    assert {r.agent: r.status for r in read_records(Path("out"))}["clumsy"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "precodin"], "did you mean 'precoding'?"),
        (["compare", "precoding", "--agents", "wmse"], "did you mean 'wmmse'?"),
        (["compare", "precoding", "--agents", "wmmse:iteration=3"], "has no option 'iteration'"),
        (["compare", "precoding", "--agents", "nowhere:Agent"], "nowhere"),
        (["compare", "precoding", "--scenario", "uma-nlos-63"], "did you mean 'uma-nlos-64'?"),
        (["compare", "precoding", "--set", "nunm_users=3"], "did you mean 'num_users'?"),
        (["compare", "precoding", "--set", "snr_db=500"], "snr_db: allowed is -50 to 100, got 500"),
        (["compare", "precoding", "--set", "seed=3"], "use --seed"),
        (["compare", "precoding", "--set", "snr_db"], "expected key=value"),
        (["compare", "precoding", "--sweep", "snr_db"], "expected a sweep as"),
        (["compare", "precoding", "--episodes", "1"], "at least 2"),
        (["compare", "precoding", "--fallback", "zf"], "deadline"),
        (["report", "nothing-here"], "nothing-here"),
        (["check", "rff"], "nothing is called 'rff'"),
        (["export", "precoding", "--out", "x.csv"], ".npz or .h5"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_request_gets_one_clear_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = run(*arguments, code=2)
    assert message in text and "Traceback" not in text and text.startswith("wirelessgym: ") and text.count("\n") == 1
    assert not Path("runs").exists()


def test_report_takes_folders_and_files_of_records(tmp_path: Path) -> None:
    for entry in at_point():
        write_record(entry, tmp_path / "a" / "records")
    single = write_record(record("mrt", 9.0), tmp_path / "b")
    run("report", str(tmp_path / "a"), str(single), str(single), "--out", str(tmp_path / "c"))
    text = (tmp_path / "c" / "report.md").read_text()
    assert text.count("| mrt |") == 1 and "| zf |" in text


def test_check_says_what_is_wrong_and_gives_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("transposed_agents.py").write_text("def swapped(obs):\n    return obs['csi'].mT\n")
    on = ["--task", "precoding", "--scenario", "rayleigh-32"]
    text = run("check", "transposed_agents:swapped", *on, code=1)
    assert "PROBLEM" in text and "expected shape (5, 4, 32)" in text and "1 problem found" in text
    assert "All checks passed" in run("check", "zf", *on)


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_export_holds_observations_of_numbered_episodes_and_nothing_an_agent_cannot_see(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"data.{ending}"
    common = ["--scenario", "rayleigh-32", "--set", "num_subcarriers=2"]
    run("export", "channel_prediction", *common, "--episodes", "3", "--seed", "5", "--out", str(path))
    task = make_task("channel_prediction", scenario="rayleigh-32", num_subcarriers=2)
    _, obs = task.reset(episodes=range(3), seed=5)
    if ending == "npz":
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if name != "settings"}
            settings = json.loads(str(file["settings"]))
    else:
        with h5py.File(path) as file:
            arrays, settings = {name: file[name][()] for name in file}, json.loads(file.attrs["settings"])
    assert arrays.keys() == obs.keys()
    assert all(np.array_equal(array, obs[name].numpy()) for name, array in arrays.items())
    assert (settings["task"], settings["seed"], settings["episodes"]) == ("channel_prediction", 5, 3)


def test_doctor_and_models_answer() -> None:
    assert "sionna" in run("doctor")
    told = run("models")
    assert "universal" in told and "smollm2-135m" in told


def test_commas_in_brackets_belong_to_an_option() -> None:
    assert split(["zf,a:x=[1,2]", 'b:y="p,q"']) == ["zf", "a:x=[1,2]", 'b:y="p,q"']


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    slow = "import time\ndef slow(obs):\n    time.sleep(0.5)\n    return obs['csi']\n"
    (tmp_path / "slow_agents.py").write_text(slow)
    words = ["compare", "precoding", "--agents", "zf,slow_agents:slow", "--scenario", "rayleigh-32"]
    words += ["--episodes", "8", "--set", "horizon=30", "--processes", "1", "--out", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "wirelessgym", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("blocks/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "finished blocks are kept, the same call with this out goes on from here" in errors and "Traceback" not in errors
    assert list((tmp_path / "out").glob("blocks/*"))
