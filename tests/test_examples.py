"""Every example runs, with settings that make it short, and does what it says."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(name, *options, needs=None):
    if needs and importlib.util.find_spec(needs) is None:
        pytest.skip(f"{name} needs {needs}")
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, options)], capture_output=True, text=True, env=os.environ | QUIET
    )
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    return done.stdout


def gain_over_reference(output, agent):
    """The paired difference in an agent's line, as a number."""
    (line,) = (line for line in output.splitlines() if line.split()[:1] == [agent])
    difference = re.search(r"([+−])(\d+\.?\d*) ±", line)
    return float(difference[2]) * (1 if difference[1] == "+" else -1)


def test_every_example_is_run_here():
    tested = set(re.findall(r'run\("([^"]+)"', Path(__file__).read_text()))
    assert tested == {path.name for path in EXAMPLES.glob("*.py")}


def test_stepping_prints_the_rate_of_zero_forcing_slot_by_slot():
    rates = [float(rate) for rate in re.findall(r"sum rate (\S+) bit/s/Hz", run("01_step.py"))]
    assert len(rates) == 10
    assert all(20 < rate < 26 for rate in rates)


def test_an_agent_of_ones_own_is_compared_with_the_built_in_ones():
    output = run("02_custom_agent.py", "--episodes", 16)
    assert gain_over_reference(output, "my_agent") < 0 < gain_over_reference(output, "rzf")


def test_a_comparison_over_snr_writes_its_report(tmp_path):
    page = tmp_path / "report.html"
    output = run("03_compare.py", "--episodes", 4, "--output", page)
    assert str(page) in output
    assert "wmmse" in page.read_text()


def test_two_seconds_of_gradient_training_beat_regularised_zero_forcing():
    output = run("04_train_by_gradient.py", "--seconds", 2, "--batch", 32, "--episodes", 32)
    assert gain_over_reference(output, "StructureNet") > 0.5


def test_the_reinforcement_learner_runs_from_training_to_table():
    output = run("05_ppo_regulariser.py", "--seconds", 5, "--num-envs", 32, "--episodes", 16, needs="stable_baselines3")
    assert gain_over_reference(output, "LearnedStructure") > -2


def test_a_keras_model_trained_on_the_dataset_beats_regularised_zero_forcing():
    output = run("06_keras_agent.py", "--batches", 8, "--episodes", 16, needs="tensorflow")
    assert gain_over_reference(output, "structured_precoder") > 0.5


def test_the_universal_agent_reads_its_instructions_and_a_small_one_learns():
    output = run("07_universal_agent.py", "--steps", 12, "--episodes", 32)
    assert all(f"{task} | " in output for task in ("precoding", "detection", "channel prediction"))
    assert gain_over_reference(output, "universal") > gain_over_reference(output, "mine") > -1


def test_a_head_of_ones_own_learns_beyond_the_textbook():
    output = run("08_head_of_your_own.py", "--steps", 60, "--episodes", 128)
    assert "snr estimation | " in output and "Estimate the signal-to-noise ratio" in output
    assert gain_over_reference(output, "universal") < -0.5  # squared error, dB^2
