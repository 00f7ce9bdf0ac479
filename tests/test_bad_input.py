"""What wrong input gets, through every door: one clear line that names the thing, what was expected and what came."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import wirelessgym
from wirelessgym.cli import app
from wirelessgym.record import RecordSchemaError, read_records
from wirelessgym.registry import UnknownIdError
from wirelessgym.scenario import ScenarioError

PRECODING = "wirelessgym/Precoding-v0"
QUICK = ["--scenario", "rayleigh-32", "--episodes", "4", "--set", "horizon=1", "--no-progress", "--processes", "1"]


def command(*arguments: str, code: int) -> str:
    """What a command prints; nothing but the exit code leaves it, so no traceback of ours does."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code and isinstance(result.exception, SystemExit | None), result.output
    assert "Traceback" not in result.output
    return result.output


def line(*arguments: str) -> str:
    """The only line that a refused command prints."""
    text = command(*arguments, code=2)
    assert text.startswith("wirelessgym: ") and text.count("\n") == 1, text
    return text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, importable as the command line makes it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: wirelessgym.make_task("precodin"), "no task is called 'precodin'; did you mean 'precoding'?"),
        (
            lambda: wirelessgym.make_task("bread"),
            "no task is called 'bread'; known: channel_prediction, detection, link_adaptation, precoding",
        ),
        (lambda: wirelessgym.compare("detecton"), "no task is called 'detecton'; did you mean 'detection'?"),
        (lambda: gym.make(PRECODING, scenario="uma-nlos-65"), "no scenario is called 'uma-nlos-65'; did you mean 'uma-nlos-64'?"),
        (
            lambda: gym.make_vec(PRECODING, num_envs=2, scenario="rayleigh"),
            "no scenario is called 'rayleigh'; did you mean 'rayleigh-32'?",
        ),
        (
            lambda: wirelessgym.make_task("precoding", scenario="uma-nlos-65"),
            "no scenario is called 'uma-nlos-65'; did you mean 'uma-nlos-64'?",
        ),
        (lambda: wirelessgym.make_agent("wmse"), "no agent is called 'wmse'; did you mean 'wmmse'?"),
        (lambda: wirelessgym.compare("precoding", agents=["wmse"]), "no agent is called 'wmse'; did you mean 'wmmse'?"),
    ],
)
def test_unknown_ids_come_with_a_suggestion(ask: Callable[[], object], message: str) -> None:
    with pytest.raises(UnknownIdError) as caught:
        ask()
    assert str(caught.value) == message


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_unknown_environments_come_with_a_suggestion(make: Callable[[str], object]) -> None:
    with pytest.raises(
        gym.error.NameNotFound, match=r"`Precodin` doesn't exist in namespace wirelessgym\. Did you mean: `Precoding`"
    ):
        make("wirelessgym/Precodin-v0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "precodin"], "no task is called 'precodin'; did you mean 'precoding'?"),
        (["export", "precodin", "--out", "x.npz"], "no task is called 'precodin'; did you mean 'precoding'?"),
        (["list", "agents", "--task", "precodin"], "no task is called 'precodin'; did you mean 'precoding'?"),
        (["check", "zf", "--task", "precodin"], "no task is called 'precodin'; did you mean 'precoding'?"),
        (
            ["compare", "precoding", "--scenario", "uma-nlos-65"],
            "no scenario is called 'uma-nlos-65'; did you mean 'uma-nlos-64'?",
        ),
        (["check", "zf", "--scenario", "uma-nlos-65"], "no scenario is called 'uma-nlos-65'; did you mean 'uma-nlos-64'?"),
        (["compare", "precoding", "--scenario", "away.toml"], "away.toml: no such file or directory"),
        (["compare", "precoding", "--agents", "wmse"], "no agent is called 'wmse'; did you mean 'wmmse'?"),
        (["compare", "precoding", "--deadline-ms", "1", "--fallback", "mtr"], "no agent is called 'mtr'; did you mean 'mrt'?"),
        (["compare", "precoding", "--agents", "away:Agent"], "no module is called 'away', in the current folder"),
        (["check", "away:Agent"], "no module is called 'away', in the current folder"),
        (["compare", "precoding", "--agents", "json:Agent"], "module 'json' has no 'Agent'"),
        (["compare", "precoding", "--agents", "oamp"], "agent 'oamp' doesn't do precoding; it does: detection"),
        (["report", "away"], "away: no such file or directory"),
    ],
    ids=" ".join,
)
def test_unknown_names_on_the_command_line_get_one_line(arguments: list[str], message: str, folder: Path) -> None:
    assert message in line(*arguments)
    assert not any(folder.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def act(obs):\n    retrun 3\n", "module 'mine' can't be imported: SyntaxError: invalid syntax (mine.py, line 2)"),
        ("x = 1\ny = z\n", "module 'mine' can't be imported: NameError: name 'z' is not defined (mine.py, line 2)"),
        ("import away_for_good\n", "module 'mine' can't be imported: No module named 'away_for_good'"),
    ],
)
@pytest.mark.parametrize("words", [["compare", "precoding", "--agents", "mine:act"], ["check", "mine:act"]], ids=" ".join)
def test_a_module_that_cannot_be_imported_gets_one_line(
    words: list[str], text: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "mine.py").write_text(text)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    assert line(*words) == f"wirelessgym: {message}\n"


SETTINGS = [
    ({"nunm_users": 3}, "nunm_users=3", "unknown option or scenario key 'nunm_users'; did you mean 'num_users'?"),
    ({"panel": {"colums": 8}}, "panel.colums=8", "unknown key 'panel.colums'; did you mean 'panel.columns'?"),
    ({"snr_db": 500}, "snr_db=500", "snr_db: allowed is -50 to 100, got 500"),
    ({"num_users": 0}, "num_users=0", "num_users: allowed is 1 to 64, got 0"),
    ({"panel": {"columns": 0}}, "panel.columns=0", "panel.columns: allowed is 1 to 64, got 0"),
    ({"model": "uda"}, "model=uda", "model: input should be 'uma', 'umi', "),
    ({"action": "beam"}, "action=beam", "action: input should be 'precoder' or 'structure', got 'beam'"),
]


@pytest.mark.parametrize(("overrides", "assignment", "message"), SETTINGS, ids=[text for _, text, _ in SETTINGS])
def test_wrong_settings_are_told_with_key_and_allowed_range(
    overrides: dict[str, Any], assignment: str, message: str, folder: Path
) -> None:
    doors = (
        lambda: wirelessgym.make_task("precoding", **overrides),
        lambda: gym.make(PRECODING, **overrides),
        lambda: gym.make_vec(PRECODING, num_envs=2, **overrides),
        lambda: wirelessgym.compare("precoding", agents=["zf"], **overrides),
    )
    for door in doors:
        with pytest.raises(ValueError) as caught:
            door()
        assert message in str(caught.value)
    assert message in line("compare", "precoding", "--set", assignment)
    assert not any(folder.iterdir())


def test_a_swept_value_out_of_range_is_refused_before_any_work(folder: Path) -> None:
    with pytest.raises(ScenarioError, match="num_users: allowed is 1 to 64, got 100"):
        wirelessgym.compare("precoding", agents=["zf"], sweep={"num_users": [4, 100]})
    assert "num_users: allowed is 1 to 64, got 100" in line("compare", "precoding", "--sweep", "num_users=4,100")
    assert not any(folder.iterdir())


def _with_nan(shape: tuple[int, ...], row: int, dtype: torch.dtype) -> torch.Tensor:
    action = torch.zeros(shape, dtype=dtype)
    action[row, 0, 3] = torch.nan
    return action


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (
            torch.zeros(3, 4, 31, dtype=torch.complex64),
            ValueError,
            "precoder: expected shape (3, 4, 32) (batch first), got (3, 4, 31)",
        ),
        (torch.zeros(4, 32, dtype=torch.complex64), ValueError, "precoder: expected shape (3, 4, 32) (batch first), got (4, 32)"),
        ([[1.0]], TypeError, "precoder: expected a tensor of shape (3, 4, 32), got list"),
        (None, TypeError, "precoder: expected a tensor of shape (3, 4, 32), got NoneType"),
        (_with_nan((3, 4, 32), 2, torch.complex64), ValueError, "precoder: row 2 holds NaN or infinite entries"),
        ({"beam": torch.zeros(3, 4, 32)}, ValueError, "action: missing ['precoder'], got ['beam']"),
    ],
)
def test_a_task_refuses_an_action_naming_field_and_row(action: Any, error: type[Exception], message: str) -> None:
    task = wirelessgym.make_task("precoding", scenario="rayleigh-32")
    state, _ = task.reset(range(3), seed=7)
    with pytest.raises(error) as caught:
        task.step(state, action)
    assert message in str(caught.value)


def test_a_task_refuses_complex_numbers_where_real_ones_belong() -> None:
    task = wirelessgym.make_task("precoding", scenario="rayleigh-32", action="structure")
    state, _ = task.reset(range(3), seed=7)
    (field,) = task.action_fields
    with pytest.raises(TypeError, match=f"{field.name}: expected dtype float32, got complex64"):
        task.step(state, torch.zeros(3, *field.shape, dtype=torch.complex64))


@pytest.mark.parametrize("num_envs", [1, 3])
def test_an_environment_refuses_an_action_naming_field_and_row_and_goes_on(num_envs: int) -> None:
    batched = num_envs > 1
    overrides: dict[str, Any] = {"scenario": "rayleigh-32", "disable_env_checker": True}
    env: Any = gym.make_vec(PRECODING, num_envs=3, scenario="rayleigh-32") if batched else gym.make(PRECODING, **overrides)
    env.reset(seed=7)
    nan = _with_nan((num_envs, 4, 32, 2), num_envs - 1, torch.float32).numpy()
    cases = [
        (np.zeros((num_envs, 4, 31, 2), np.float32), ValueError, rf"precoder: expected shape \({num_envs}, 4, 32\)"),
        (np.zeros((num_envs, 4, 32), np.float32), ValueError, r"precoder: expected a trailing \(re, im\) axis of 2"),
        (np.full((num_envs, 4, 32, 2), "1"), TypeError, "precoder: expected an array of numbers, got <U1"),
        (nan, ValueError, f"precoder: row {num_envs - 1} holds NaN or infinite entries"),
    ]
    for action, error, message in cases:
        with pytest.raises(error, match=message):
            env.step(action if batched else action[0])
    env.step(env.action_space.sample())  # nothing was lost
    env.close()


@pytest.mark.parametrize("agent", ["zf", "zf_waterfilling"])
def test_more_users_than_antennas_is_told_with_both_numbers(agent: str) -> None:
    task = wirelessgym.make_task("precoding", scenario="rayleigh-32", num_users=33)
    _, obs = task.reset(range(2), seed=7)
    with pytest.raises(ValueError, match="needs users <= antennas, got 33 users on 32 antennas"):
        wirelessgym.make_agent(agent).act(task, obs)


def test_more_users_than_antennas_fails_that_method_alone(folder: Path) -> None:
    text = command("compare", "precoding", "--agents", "zf,rzf", *QUICK, "--set", "num_users=33", "--out", "out", code=1)
    assert "zf failed: ValueError: zero-forcing needs users <= antennas, got 33 users on 32 antennas" in text
    assert {r.agent: r.status for r in read_records(Path("out"))} == {"zf": "failed", "rzf": "ok", "random": "ok", "bound": "ok"}


def test_records_of_another_schema_are_refused_and_left_alone(folder: Path) -> None:
    command("compare", "precoding", "--agents", "zf", *QUICK, "--out", "out", code=0)
    for path in Path("out/records").glob("*.json"):
        path.write_text(path.read_text().replace('"schema": 1', '"schema": 7'))
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    message = "has schema 7, this version of wirelessgym reads and writes schema 1; use another folder"
    with pytest.raises(RecordSchemaError, match=message):
        read_records(Path("out"))
    with pytest.raises(RecordSchemaError, match=message):
        wirelessgym.compare("precoding", agents=["zf"], scenario="rayleigh-32", episodes=4, out="out")
    assert message in line("compare", "precoding", "--agents", "zf", *QUICK, "--out", "out")
    assert message in line("report", "out")
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


def test_an_agent_that_raises_is_reported_with_its_traceback_and_the_others_go_on(folder: Path) -> None:
    (folder / "careless.py").write_text("def careless(obs):\n    raise RuntimeError('dropped it')\n")
    text = command("compare", "precoding", "--agents", "careless:careless,zf", *QUICK, "--out", "out", code=1)
    assert "careless failed: RuntimeError: dropped it" in text
    found = {record.agent: record for record in read_records(Path("out"))}
    assert {name: record.status for name, record in found.items()} == {
        "careless": "failed",
        "zf": "ok",
        "random": "ok",
        "bound": "ok",
    }
    said = found["careless"].traceback
    assert said is not None and said.startswith("Traceback") and 'File "careless.py", line 2' in said
    assert said.rstrip().endswith("RuntimeError: dropped it") and str(folder) not in said


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("obs['csi'].mT", "precoder: expected shape (4, 4, 32) (batch first), got (4, 32, 4)"),
        ("obs['csi'] * float('nan')", "precoder: row 0 holds NaN or infinite entries"),
        ("None", "action: expected a tensor or an array of numbers, got NoneType"),
        ("'beam'", "action: expected a tensor or an array of numbers, got str"),
    ],
)
def test_an_agent_whose_action_is_refused_is_reported_and_the_others_go_on(answer: str, message: str, folder: Path) -> None:
    agent = eval(f"lambda obs: {answer}")
    table = wirelessgym.compare("precoding", agents=[agent, "zf"], scenario="rayleigh-32", episodes=4, horizon=1, show=False)
    failed, other = table.records[:2]
    assert (failed.status, other.status, table.exit_code) == ("failed", "ok", 1)
    assert message in (failed.traceback or "")


def test_a_stable_baselines_agent_says_which_entry_of_its_training_is_missing() -> None:
    trained_on = gym.spaces.Dict({"csi": gym.spaces.Box(-9, 9, (4, 32, 2)), "csi_noise_power": gym.spaces.Box(0, 1, (1,))})

    class Policy:
        observation_space = trained_on

    class Model:
        policy = Policy()

        def predict(self) -> None: ...

    task = wirelessgym.make_task("precoding", scenario="rayleigh-32")
    _, obs = task.reset(range(2), seed=7)
    message = "Model was trained on observations with 'csi_noise_power', this task's have csi, noise_power, tx_power"
    with pytest.raises(ValueError, match=message):
        wirelessgym.as_agent(Model()).act(task, obs)


def test_ctrl_c_keeps_what_is_finished_in_all_processes(tmp_path: Path) -> None:
    (tmp_path / "slow_agents.py").write_text(
        "import time\ndef slow(obs):\n    time.sleep(0.1 if len(obs['csi']) == 64 else 0)\n    return obs['csi']\n"
    )
    words = [sys.executable, "-m", "wirelessgym", "compare", "precoding", "--agents", "zf,slow_agents:slow"]
    words += ["--scenario", "rayleigh-32", "--episodes", "640", "--set", "horizon=10", "--processes", "2", "--out", "out"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ, start_new_session=True)
    deadline = time.monotonic() + 90
    while len(list((tmp_path / "out").glob("blocks/*.npz"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "finished blocks are kept, the same call with this out goes on from here" in errors and "Traceback" not in errors
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("blocks/*.npz")}
    assert len(kept) >= 4 and not list((tmp_path / "out").glob("records/*"))
    done = subprocess.run([*words, "--processes", "1"], cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # not played again
    assert {record.agent for record in read_records(tmp_path / "out")} == {"zf", "slow", "random", "bound"}
