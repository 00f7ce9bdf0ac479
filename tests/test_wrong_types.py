"""Values of the wrong type are refused at the door, in words; none is taken silently for something else."""

import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import wirelessgym
from wirelessgym.cli import app
from wirelessgym.scenario import ScenarioError

QUICK: dict[str, Any] = {"episodes": 4, "horizon": 1, "show": False, "progress": False, "processes": 1}


def task(**options: Any) -> Any:
    return wirelessgym.make_task("precoding", **options)


def compare(**options: Any) -> Any:
    return wirelessgym.compare("precoding", agents=["zf"], **{"scenario": "rayleigh-32", **QUICK, **options})


def wmmse(**options: Any) -> Any:
    return wirelessgym.make_agent("wmmse", **options)


def reset(seed: Any) -> Any:
    return gym.make_vec("wirelessgym/Precoding-v0", num_envs=2, scenario="rayleigh-32").reset(seed=seed)


A_SCENARIO = "scenario: expected an id, a TOML file or a Scenario"
CASES: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: wirelessgym.make_task(5), TypeError, "task: expected an id or a Task class, got 5"),
    (lambda: task(scenario=5), TypeError, f"{A_SCENARIO}, got 5"),
    (lambda: task(scenario={}), TypeError, f"{A_SCENARIO}, got {{}}"),
    (lambda: task(panel={1: 2}), ValueError, "scenario: expected the name of a key, got 1"),
    (lambda: task(snr_db=True), ValueError, "snr_db: input should be a number, not true or false, got true"),
    (lambda: task(num_users="4"), ValueError, 'num_users: input should be a number, not text, got "4"'),
    (lambda: task(csi_delay_slots=2.5), ValueError, "csi_delay_slots: input should be a valid integer, got 2.5"),
    (lambda: compare(scenario=[None]), TypeError, f"{A_SCENARIO}, got None"),
    (lambda: compare(scenario={}), TypeError, "scenario: expected an id, a TOML file, a Scenario or a list of them, got {}"),
    (lambda: compare(processes=1.5), TypeError, "processes: expected an integer, got 1.5"),
    (lambda: compare(episodes=True), TypeError, "episodes: expected an integer, got True"),
    (lambda: compare(deadline_s=math.nan), ValueError, "deadline_s: expected a positive number of seconds (finite), got nan"),
    (lambda: compare(deadline_s=math.inf), ValueError, "deadline_s: expected a positive number of seconds (finite), got inf"),
    (lambda: compare(deadline_s="1"), ValueError, "deadline_s: expected a positive number of seconds (finite), got '1'"),
    (lambda: compare(sweep=5), TypeError, "sweep: expected field=start:stop:step or {field: values}, got 5"),
    (lambda: compare(sweep={5: [1]}), ValueError, "expected the swept field's name, got 5"),
    (lambda: wirelessgym.make_agent(5), TypeError, "agent: expected an id, got 5"),
    (lambda: wmmse(iterations=2.5), ValueError, "agent 'wmmse': iterations: expected a valid integer, got 2.5"),
    (lambda: wmmse(iterations=True), ValueError, "agent 'wmmse': iterations: expected a valid integer, got True"),
    (lambda: wmmse(iterations=math.nan), ValueError, "agent 'wmmse': iterations: expected a valid integer, got nan"),
    (lambda: wmmse(tolerance=math.nan), ValueError, "tolerance: expected a number in [0, 1), got nan"),
    (lambda: wmmse(tolerance="0.1"), ValueError, "agent 'wmmse': tolerance: expected a valid number, got '0.1'"),
    (lambda: wmmse(initialisation="zf"), ValueError, "initialisation: expected one of rzf, mrt, random, got 'zf'"),
    (lambda: compare(epsiodes=4), ScenarioError, "unknown option or scenario key 'epsiodes'; did you mean 'episodes'?"),
    (lambda: compare(sedd=4), ScenarioError, "unknown option or scenario key 'sedd'; did you mean 'seed'?"),
    (lambda: compare(num_user=4), ScenarioError, "unknown option or scenario key 'num_user'; did you mean 'num_users'?"),
    (lambda: task(epsiodes=4), ScenarioError, "unknown option or scenario key 'epsiodes'; known: action,"),
    (
        lambda: wirelessgym.compare(task()),
        TypeError,
        "task: expected an id or a Task class, got a task; give 'precoding', its scenario and its options",
    ),
    *(
        (ask, TypeError, f"{name}: state: expected what reset or step returned, got NoneType")
        for name in ("precoding", "detection", "channel_prediction", "link_adaptation")
        for made in [wirelessgym.make_task(name)]
        for ask in (partial(made.step, None, None), partial(made.score, None, None), partial(made.advance, None, torch.zeros(1)))
    ),
    (lambda: reset(2**64), ValueError, "seed: expected integers in [0, 2^63), got 18446744073709551616"),
    (lambda: reset(2**63 - 1), ValueError, "seed: expected integers in [0, 2^63), got 9223372036854775808"),
    (lambda: reset([0, 2**64]), ValueError, "seed: expected integers in [0, 2^63), got 18446744073709551616"),
    (lambda: reset([0, 1.5]), TypeError, "seed: expected an integer, got 1.5"),
    (lambda: reset(1.5), TypeError, "seed: expected an integer, got 1.5"),
]


@pytest.mark.parametrize(("ask", "error", "message"), CASES, ids=[message for _, _, message in CASES])
def test_a_value_of_the_wrong_type_is_refused_with_what_was_expected_and_what_came(
    ask: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        ask()
    assert message in str(caught.value)


def test_numpys_numbers_count_as_pythons() -> None:
    assert wmmse(iterations=np.int64(3), tolerance=np.float64(0.5)) == wmmse(iterations=3, tolerance=0.5)
    assert task(csi_delay_slots=np.int64(2)).csi_delay_slots == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "snr_db=1\nnum_users=2"], "expected key=value on one line, got 'snr_db=1\\nnum_users=2'"),
        (["--sweep", "snr_db=0:inf:5"], "expected finite numbers in start:stop:step"),
        (["--deadline-ms", "nan"], "expected a positive number of seconds"),
        (["--deadline-ms", "inf"], "expected a positive number of seconds"),
        (["--scenario", "deep.toml"], "deep.toml is not valid TOML: nested too deeply"),
        (["--set", "snr_db=" + "[" * 5000], "snr_db: input should be a valid"),
        (["--scenario", "no_text.toml"], "no_text.toml is not valid TOML: not UTF-8"),
        (["--set", "num_users=" + "9" * 5000], "num_users: "),
        (
            ["--set", "task=detection"],
            "--set task: this is no field or option of the task but an argument of the command, use TASK",
        ),
        (["--sweep", "scenario=rayleigh-32,cdl-c-32"], "scenario is no field to sweep; give several scenarios"),
        (["--agents", "mine:act:depth=3"], "act is no class, so it takes no options, got depth"),
        (["--executor", "rya"], "wirelessgym: executor: expected one of here, processes, ray, got 'rya'"),
        (["--set", "epsiodes=4"], "unknown option or scenario key 'epsiodes'; did you mean 'episodes'?"),
        (["--agents", "wmmse:iterations=2.5"], "agent 'wmmse': iterations: expected a valid integer, got 2.5"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_the_command_line_refuses_them_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("mine.py").write_text("def act(obs): ...")
    Path("no_text.toml").write_bytes(b"\xff\xfe")
    Path("deep.toml").write_text("snr_db = " + "[" * 5000 + "]" * 5000)
    result = CliRunner().invoke(app, ["compare", "precoding", *arguments])
    assert result.exit_code == 2 and message in result.output and result.output.count("\n") == 1, result.output[:2000]
    assert not Path("runs").exists()


def test_a_module_of_the_current_folder_does_not_stand_in_for_pythons_own(tmp_path: Path) -> None:
    for name in ("random", "json", "string", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong module')\n")
    (tmp_path / "mine.py").write_text("def act(obs):\n    return obs['csi']\n")
    words = [sys.executable, "-m", "wirelessgym", "compare", "precoding", "--agents", "mine:act", "--scenario", "rayleigh-32"]
    words += ["--episodes", "80", "--set", "horizon=1", "--no-progress", "--processes", "2", "--out", "out"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "the wrong module" not in done.stderr, done.stdout + done.stderr
    assert "act" in done.stdout
