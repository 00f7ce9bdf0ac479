"""The command line's own part, with what it calls replaced: arguments and defaults passed on, lines printed, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from synthetic import record
from typer.testing import CliRunner

import wirelessgym.cli
from wirelessgym.check.findings import Finding
from wirelessgym.cli import app
from wirelessgym.cli.arguments import allow_modules_here, new_folder, overrides, write_reports
from wirelessgym.cli.errors import reports_errors
from wirelessgym.doctor import Item
from wirelessgym.record import read_records, write_record


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


class Calls(list[tuple[tuple[Any, ...], dict[str, Any]]]):
    """Notes how it is called, and gives one answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.append((arguments, named))
        return self.answer


class Played:
    records: list[Any] = []  # noqa: RUF012
    exit_code = 1


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    calls = Calls(Played())
    monkeypatch.setattr("wirelessgym.evaluate.compare", calls)
    return calls


def test_compare_passes_its_arguments_on(compared: Calls, tmp_path: Path) -> None:
    run("compare", "precoding", "--agents", "zf,a:x=[1,2]", "--agents", "mrt", "--scenario", "a,b.toml", "--episodes", "9",
        "--seed", "3", "--reference", "zf", "--sweep", "snr_db=0:1:1", "--set", "num_users=3", "--processes", "2", "--executor",
        "here", "--shard", "1/2", "--isolated", "--agent-timeout", "5", "--deadline-ms", "2.5", "--fallback", "mrt", "--out", "o",
        "--no-progress", code=1)  # fmt: skip
    ((arguments, named),) = compared
    assert arguments == ("precoding", ["zf", "a:x=[1,2]", "mrt"], ["a", "b.toml"], 9, 3)
    assert named == {
        "reference": "zf", "sweep": "snr_db=0:1:1", "processes": 2, "executor": "here", "shard": "1/2", "isolated": True,
        "agent_timeout_s": 5.0, "deadline_s": 0.0025, "fallback": "mrt", "out": Path("o"), "progress": False, "num_users": 3,
    }  # fmt: skip
    assert not Path("o").exists()  # nobody made records, so there is no report


def test_compare_leaves_to_the_comparison_what_nobody_asked_for(compared: Calls) -> None:
    run("compare", "precoding", code=1)
    ((arguments, named),) = compared
    assert arguments == ("precoding", None, None, 256, 7)
    assert re.fullmatch(r"runs/precoding-[\w-]+-\d{8}-\d{6}", named.pop("out").as_posix())
    expected = dict.fromkeys(("reference", "sweep", "processes", "executor", "shard", "deadline_s", "fallback"))
    assert named == {**expected, "isolated": False, "agent_timeout_s": 600.0, "progress": True}


def test_a_seed_of_zero_is_a_seed_and_a_secret_one_comes_from_a_file(compared: Calls) -> None:
    Path("secret.txt").write_text("something that nobody else knows, in one line\n")
    run("compare", "precoding", "--seed", "0", code=1)
    run("compare", "precoding", "--seed-file", "secret.txt", code=1)
    assert compared[0][0][4] == 0
    assert type(compared[1][0][4]).__name__ == "SecretSeed"
    said = run("compare", "precoding", "--seed", "0", "--seed-file", "secret.txt", code=2)
    assert said == "wirelessgym: --seed and --seed-file: expected one of them, got both\n"
    assert "name it with --out" in run("compare", "precoding", "--shard", "1/2", code=2)
    assert len(compared) == 2


@pytest.mark.parametrize(
    ("key", "flag"),
    [
        ("task", "TASK"),
        ("episodes", "--episodes"),
        ("deadline_s", "--deadline-ms"),
        ("agent_timeout_s", "--agent-timeout"),
    ],
)
def test_an_argument_of_the_command_is_no_setting(key: str, flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert f"--set {key}: this is no field or option of the task but an argument of the command, use {flag}" in run(
        "compare", "precoding", "--set", f"{key}=3", code=2
    )


def test_settings_are_read_and_underscores_of_flags_are_dashes() -> None:
    def target(seed_file: int = 0, **options: object) -> None: ...

    assert overrides(None) == {} == overrides(None, target)
    assert overrides(["a=1", "b.c=x"]) == {"a": 1, "b.c": "x"}
    assert overrides(["options=1"], target) == {"options": 1}  # what is caught by ** is nobody's
    assert overrides(["seed_file=1"]) == {"seed_file": 1}
    with pytest.raises(ValueError, match=r"use --seed-file$"):
        overrides(["seed_file=1"], target)


def test_a_new_folder_says_what_it_is_of() -> None:
    folder = new_folder("detection", ["uma-nlos-64", Path("here/my.toml")])
    assert folder.parent == Path("runs")
    assert re.fullmatch(r"detection-uma-nlos-64\+my-20\d{6}-\d{6}", folder.name)


def test_modules_here_are_found_and_stand_in_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = [folder for folder in sys.path if folder]
    monkeypatch.setattr(sys, "path", ["", os.getcwd(), *before])
    allow_modules_here()
    assert sys.path == [*before, os.getcwd()]


def test_three_files_are_written_and_the_page_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_reports([record("a")], tmp_path, "My title", pictures=False)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.md", "results.csv"}
    assert capsys.readouterr().out == f"Report: {tmp_path / 'report.html'}\n"
    assert "My title" in (tmp_path / "report.html").read_text() and "My title" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    "error", [ValueError("bad value"), TypeError("bad value"), ImportError("bad value"), OSError("bad value")]
)
def test_an_error_about_the_request_is_one_line_or_a_traceback_where_wanted(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @reports_errors
    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as end:
        command()
    assert end.value.exit_code == 2 and capsys.readouterr().err == "wirelessgym: bad value\n"
    monkeypatch.setenv("WIRELESSGYM_TRACEBACK", "1")
    with pytest.raises(type(error), match="bad value"):
        command()


def test_a_file_that_cannot_be_used_is_named_and_other_errors_are_not_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    def ends(error: BaseException) -> int:
        @reports_errors
        def command() -> None:
            raise error

        with pytest.raises(typer.Exit) as end:
            command()
        return int(end.value.exit_code)

    assert ends(PermissionError(13, "Permission denied", "a/b.json")) == 2
    assert capsys.readouterr().err == "wirelessgym: a/b.json: permission denied\n"
    assert ends(KeyboardInterrupt()) == 130 and capsys.readouterr().err == ""
    with pytest.raises(RuntimeError, match="a defect"):
        reports_errors(lambda: (_ for _ in ()).throw(RuntimeError("a defect")))()


def test_a_request_to_end_is_answered_as_ctrl_c_unless_it_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wirelessgym.cli, "app", lambda: None)
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        wirelessgym.cli.main()
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def test_check_counts_problems_and_gives_their_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    fine, bad = Finding(True, "it is fine", "no hint"), Finding(False, "it is bad", "mend it")
    monkeypatch.setattr(sys, "path", list(sys.path))
    calls = Calls([("one", [fine, bad]), ("two", [bad])])
    monkeypatch.setattr("wirelessgym.check.inspection.inspect_target", calls)
    said = run("check", "it", "--task", "precoding", "--scenario", "s", "--set", "a=1", code=1)
    assert said.splitlines() == [
        "one", "  ok      it is fine", "  PROBLEM it is bad", "          mend it",
        "two", "  PROBLEM it is bad", "          mend it", "2 problems found.",
    ]  # fmt: skip
    assert calls == [(("it", "precoding", "s", {"a": 1}), {})]
    calls.answer = [("one", [bad])]
    assert run("check", "it", code=1).endswith("1 problem found.\n")
    calls.answer = [("one", [fine])]
    assert run("check", "it").splitlines() == ["one", "  ok      it is fine", "All checks passed."]


def test_doctor_lines_up_what_it_finds_and_fails_where_nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [Item("python", "ok", "3.11", "", True), Item("long name", "missing", "nowhere", "get it", False)]
    monkeypatch.setattr("wirelessgym.doctor.examine", lambda: items)
    lines = ["ok      python     3.11", "missing long name  nowhere", " " * 19 + "-> get it"]
    assert run("doctor").splitlines() == lines
    items.append(Item("sionna", "broken", "no", "", True))
    assert run("doctor", code=1).splitlines()[:3] == lines


def test_models_are_verified_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls([])
    monkeypatch.setattr("wirelessgym.models.verify", calls)
    assert run("models", "verify") == "No models are installed, nothing to verify.\n"
    calls.answer = [("a", []), ("b", ["this", "that"])]
    assert run("models", "verify", "b", code=1).splitlines() == ["ok      a", "PROBLEM b: this; that"]
    calls.answer = [("a", [])]
    assert run("models", "verify") == "ok      a\n"
    assert [arguments for arguments, _ in calls] == [(None,), ("b",), (None,)]
    monkeypatch.setattr("wirelessgym.models.install", lambda name: Path("there"))
    assert run("models", "install", "x") == f"x: {Path('there')}\n"


def test_without_trained_models_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wirelessgym.models.checkpoint_lines", list)
    monkeypatch.setattr("wirelessgym.models.backbone_lines", lambda: ["one", "two"])
    for command in (["models"], ["models", "list"]):
        said = run(*command).splitlines()
        assert said[0] == "trained models" and said[1].startswith("  No trained models come with this version")
        assert said[2:] == ["language models", "  one", "  two"]


def test_training_names_its_folder_or_makes_one_and_resumes_only_a_named_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Trained:
        name, num_parameters = "net", 1234567

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    calls = Calls(Trained())
    monkeypatch.setattr("wirelessgym.train.train", calls)
    assert run("train", "my.toml", "--out", "o", "--resume", "--no-progress", "--set", "steps=5") == (
        "net: 1,234,567 weights trained, in o\n"
    )
    assert calls.pop() == (("my.toml", Path("o"), True, False), {"overrides": ["steps=5"]})
    run("train", "my.toml")
    (config, folder, resume, progress), named = calls.pop()
    assert (config, resume, progress, named) == ("my.toml", False, True, {"overrides": ()})
    assert re.fullmatch(r"train-my-\d{8}-\d{6}", folder.name)
    assert "--resume continues the run in --out" in run("train", "my.toml", "--resume", code=2)


def test_a_report_goes_beside_its_first_records_unless_told(tmp_path: Path) -> None:
    file = write_record(record("a"), tmp_path / "x")
    run("report", str(file), "--no-pictures")
    assert (file.parent / "report.html").is_file()
    write_record(record("b"), tmp_path / "y" / "records")
    run("report", str(tmp_path / "y"), str(file), "--title", "Both", "--no-pictures")
    assert "Both" in (tmp_path / "y" / "report.md").read_text() and len(read_records(tmp_path / "y")) == 1


def test_lists_say_one_kind_or_all_and_agents_of_any_task_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(run("list", "--task", "precoding", "--json"))
    assert list(found) == ["tasks", "scenarios", "agents"]
    names = {entry["id"] for entry in found["agents"]}
    assert {"zf", "random"} <= names and "hold" not in names
    assert list(json.loads(run("list", "tasks", "--json"))) == ["tasks"]
    lines = run("list", "tasks").splitlines()
    assert lines[0] == "tasks" and len({line.index(line.split()[1]) for line in lines[1:]}) == 1
    assert "did you mean 'precoding'?" in run("list", "--task", "precodin", code=2)


def test_bench_times_what_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(None)
    monkeypatch.setattr("wirelessgym.bench.run", calls)
    run("bench", "channel", "--fast", "--out", "x.json")
    run("bench")
    assert [arguments for arguments, _ in calls] == [("channel", True, Path("x.json")), (None, False, None)]
    assert any(re.match(r"channel {9}\S", line) for line in run("bench", "--list").splitlines())
    assert len(calls) == 2
