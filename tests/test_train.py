"""Training runs: exact, complete in what they leave, and polite when interrupted."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from learnable import Based, Learnable, Limited, NeverFinite
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from wirelessgym import compare, make_task
from wirelessgym.channel.randomness import generators
from wirelessgym.check.findings import watched_random_state
from wirelessgym.checkpoint import CheckpointError, load_weights, read_card, tensors_digest
from wirelessgym.cli import app
from wirelessgym.fields import Field, to
from wirelessgym.learned import LearnedAgent
from wirelessgym.train import ConfigurationError, DivergedError, train
from wirelessgym.train.sampling import Drawer, Job

ENTRY = {"task": "precoding", "scenario": "rayleigh-32", "batch": 8, "validation_episodes": 16}
SMALL = {
    "agent": "learnable:Learnable",
    "steps": 6,
    "validate_every": 2,
    "checkpoint_every": 3,
    "learning_rate": 0.02,
    "warmup_steps": 1,
    "draw_ahead": False,
    "tasks": [ENTRY, ENTRY | {"overrides": {"num_users": 2}, "weight": 0.5}],
}


def run(out: Path, resume: bool = False, agent: LearnedAgent | None = None, **keys) -> LearnedAgent:
    return train(SMALL | keys, out, resume, progress=False, agent=agent)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def course(out: Path) -> list[tuple[str, ...]]:
    """Everything in the logs but the time, to the last bit."""
    logs = [row for name in ("log.csv", "validation.csv") for row in rows(out / name)]
    return [tuple(value for key, value in row.items() if key != "seconds") for row in logs]


class Stop(Learnable):
    """Presses Ctrl-C, or sends another signal, during a step."""

    at = 3
    number = signal.SIGINT

    def loss(self, task, state, obs, progress=1.0):
        if round(progress * 6) + 1 == self.at:
            os.kill(os.getpid(), self.number)
        return super().loss(task, state, obs, progress)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("train") / "unbroken"
    run(out)
    return out


def test_an_interrupted_run_goes_on_exactly_as_if_it_had_not_been(unbroken: Path, tmp_path: Path, capsys):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", agent=Stop(dropout=0.1))
    said = capsys.readouterr().err
    assert said.count("continues from here") == 1 and "3 of 6 steps" in said and f"--out {tmp_path / 'broken'} --resume" in said
    assert len(rows(tmp_path / "broken" / "log.csv")) == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    resumed = run(tmp_path / "broken", resume=True, agent=Stop(dropout=0.1))  # its own weights don't count
    assert course(tmp_path / "broken") == course(unbroken)
    whole = Learnable(checkpoint=unbroken / "last")
    whole.weights(make_task("precoding", "rayleigh-32"))
    assert resumed.fingerprint == whole.fingerprint


def test_sigterm_saves_what_is_done_as_ctrl_c_does(unbroken: Path, tmp_path: Path):
    agent = Stop()
    agent.number = signal.SIGTERM
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", agent=agent)
    assert len(rows(tmp_path / "broken" / "log.csv")) == 3
    run(tmp_path / "broken", resume=True, agent=Stop())
    assert course(tmp_path / "broken") == course(unbroken)


def test_rows_that_a_killed_run_logged_after_its_last_checkpoint_are_made_anew(unbroken: Path, tmp_path: Path):
    run(tmp_path / "killed")
    state = torch.load(tmp_path / "killed" / "resume.pt", weights_only=True)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "early", agent=Stop())
    (tmp_path / "early" / "log.csv").write_text((tmp_path / "killed" / "log.csv").read_text() + "7,0.1,prec")
    run(tmp_path / "early", resume=True, agent=Stop())
    assert course(tmp_path / "early") == course(unbroken)
    assert torch.load(tmp_path / "early" / "resume.pt", weights_only=True)["done"]["step"] == state["done"]["step"] == 6


def test_what_a_run_logged_that_was_killed_before_its_first_checkpoint_is_made_anew(unbroken: Path, tmp_path: Path):
    shutil.copytree(unbroken, tmp_path / "killed", ignore=shutil.ignore_patterns("resume.pt", "last"))
    run(tmp_path / "killed", resume=True)
    assert course(tmp_path / "killed") == course(unbroken)
    events = EventAccumulator(str(tmp_path / "killed" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("validation/precoding/sum_rate")] == [0, 2, 4, 6]


def test_drawing_ahead_changes_no_result_and_leaves_no_process(unbroken: Path, tmp_path: Path):
    before = set(psutil.Process().children(recursive=True))
    run(tmp_path / "ahead", draw_ahead=True)
    assert course(tmp_path / "ahead") == course(unbroken)
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [process for process in left if "resource_tracker" not in " ".join(process.cmdline())]


@pytest.mark.parametrize("ahead", [True, False])
def test_what_goes_wrong_while_drawing_is_said_here(ahead: bool):
    with Drawer([make_task("precoding", "rayleigh-32")], ahead) as drawer:
        jobs = [Job(0, 0, range(2)), Job(0, 0, range(3)), Job(0, -1, range(2))]
        batches = drawer.batches(jobs)
        assert [(job.numbers, len(obs["csi"])) for job, (_, obs) in (next(batches), next(batches))] == [
            (range(2), 2), (range(3), 3)
        ]  # fmt: skip
        with pytest.raises(ValueError, match=r"expected integers in \[0, 2\^63\), got -1"):
            next(batches)


def test_a_drawing_process_that_is_gone_is_named():
    with Drawer([make_task("precoding", "rayleigh-32")], ahead=True) as drawer:
        batches = drawer.batches(Job(0, 0, range(n, n + 2)) for n in range(50))
        next(batches)
        for process in psutil.Process().children(recursive=True):
            if "resource_tracker" not in " ".join(process.cmdline()):
                process.kill()
        with pytest.raises(
            RuntimeError, match=r"drawing episodes: a worker process ended .*draw_ahead = false avoids that process"
        ):
            list(batches)


def test_a_run_leaves_its_configuration_logs_events_and_a_checkpoint_with_a_card(unbroken: Path):
    assert {path.name for path in unbroken.iterdir()} == {
        "config.toml", "log.csv", "validation.csv", "tensorboard", "last", "resume.pt"
    }  # fmt: skip
    steps, validations = rows(unbroken / "log.csv"), rows(unbroken / "validation.csv")
    assert [row["step"] for row in steps] == list("123456")
    assert {row["task"] for row in steps} == {"precoding", "precoding-2"}
    assert steps[-1]["episodes"] == "48" and float(steps[0]["learning_rate"]) == 0.02
    assert [row["step"] for row in validations] == list("00224466")
    assert {row["metric"] for row in validations} == {"sum_rate"}
    assert any((unbroken / "tensorboard").iterdir())
    card = json.loads((unbroken / "last" / "card.json").read_text())
    training = card["training"]
    assert (card["tasks"], training["steps"], sum(training["episodes"].values())) == (["precoding"], 6, 48)
    assert training["wall_time_s"] >= float(steps[-1]["seconds"]) > 0
    assert training["versions"]["torch"] and training["hardware"]["cpu"] and training["configuration"]["steps"] == 6
    assert training["validation"]["precoding"]["value"] == float(validations[-2]["value"])


def test_validation_is_what_a_comparison_on_these_episodes_would_say(unbroken: Path):
    agent = Learnable(checkpoint=unbroken / "last")
    task = make_task("precoding", "rayleigh-32")
    state, obs = task.reset(range(0, 32, 2), seed=2**62)  # every other episode belongs to the other entry
    rate = task.score(state, agent.act(task, obs))["sum_rate"].double().mean().item()
    assert float(rows(unbroken / "validation.csv")[-2]["value"]) == pytest.approx(rate, rel=1e-6)


def test_a_ratio_is_validated_as_a_ratio_of_sums(tmp_path: Path):
    class Shrunk(Learnable):
        tasks = ("detection",)

        def build(self, task):
            return torch.nn.Linear(1, 1, bias=False)

        def forward(self, task, obs):
            h = obs["csi"]
            return (obs["received"] @ torch.linalg.pinv(h).mT) * self._weights(torch.ones(1)).sigmoid()

    entry = ENTRY | {"task": "detection", "overrides": {"horizon": 1, "snr_db": [-5, 20]}, "batch": 5}
    agent = run(tmp_path / "detection", agent=Shrunk(), tasks=[entry], steps=2)
    task = make_task("detection", "rayleigh-32", **entry["overrides"])
    state, obs = task.reset(range(16), seed=2**62)
    above, below = (task.score(state, agent.act(task, obs))[key].double() for key in task.headline.ratio)
    last = float(rows(tmp_path / "detection" / "validation.csv")[-1]["value"])
    assert last == pytest.approx((above.sum() / below.sum()).item(), rel=1e-5)
    assert abs(last / (above / below).mean().item() - 1) > 1e-3  # the two differ here


def test_the_loss_falls(tmp_path: Path):
    run(tmp_path / "learns", tasks=[ENTRY | {"batch": 32}], steps=30)
    losses = [float(row["loss"]) for row in rows(tmp_path / "learns" / "log.csv")]
    assert np.mean(losses[-5:]) < np.mean(losses[:3]) - 0.5  # bit/s/Hz
    values = [float(row["value"]) for row in rows(tmp_path / "learns" / "validation.csv")]
    assert values[-1] > values[0] + 0.5


def test_the_trained_agent_goes_straight_into_a_comparison(unbroken: Path):
    agent = Learnable(checkpoint=unbroken / "last")
    table = compare("precoding", [agent], "rayleigh-32", episodes=4, progress=False, show=False, processes=1, horizon=1)
    assert table.exit_code == 0 and table.records[0].parameters == agent.num_parameters > 0


def test_training_moves_no_global_state(tmp_path: Path):
    threads = torch.get_num_threads()
    with watched_random_state() as changed:
        run(tmp_path / "quiet", steps=2, threads=2)
    assert not changed and torch.get_num_threads() == threads


def test_another_global_state_changes_no_loss(unbroken: Path, tmp_path: Path):
    torch.manual_seed(1234)
    run(tmp_path / "again")
    assert course(tmp_path / "again") == course(unbroken)


def test_an_agent_of_ones_own_is_trained_as_the_named_one_is(unbroken: Path, tmp_path: Path):
    mine = Learnable()
    assert run(tmp_path / "mine", agent=mine) is mine
    assert course(tmp_path / "mine") == course(unbroken)
    assert not mine.weights(make_task("precoding", "rayleigh-32")).training


def test_the_seed_changes_weights_and_episodes(unbroken: Path, tmp_path: Path):
    run(tmp_path / "other", seed=1, steps=2)
    assert rows(tmp_path / "other" / "log.csv")[0]["loss"] != rows(unbroken / "log.csv")[0]["loss"]


def test_keeping_the_best_returns_the_weights_of_the_best_validation(tmp_path: Path):
    # A learning rate that breaks what was learned: the best validation isn't the last one.
    best = run(tmp_path / "best", keep="best", tasks=[ENTRY], steps=8, learning_rate=1.0, gradient_clip=100.0)
    values = [float(row["value"]) for row in rows(tmp_path / "best" / "validation.csv")]
    assert values[-1] < max(values)
    card = json.loads((tmp_path / "best" / "best" / "card.json").read_text())
    assert card["training"]["validation"]["precoding"]["value"] == max(values)
    assert [tensors_digest(load_weights(tmp_path / "best" / name)) == best.fingerprint for name in ("best", "last")] == [
        True,
        False,
    ]


def test_a_first_validation_that_is_not_finite_is_beaten_by_the_best_of_those_that_are(tmp_path: Path):
    class NotAtFirst(Learnable):
        acted = 0

        def act(self, task, obs):
            self.acted += 1
            return super().act(task, obs) * (torch.nan if self.acted == 1 else 1)

    best = run(tmp_path / "best", agent=NotAtFirst(), keep="best", tasks=[ENTRY | {"batch": 32}], steps=20, learning_rate=0.1)
    values = [float(row["value"]) for row in rows(tmp_path / "best" / "validation.csv")]
    assert np.isnan(values[0]) and np.isfinite(values[1:]).all() and values[1] < max(values[1:])
    card = json.loads((tmp_path / "best" / "best" / "card.json").read_text())
    assert card["training"]["validation"]["precoding"]["value"] == max(values[1:])
    assert tensors_digest(load_weights(tmp_path / "best" / "best")) == best.fingerprint


def test_an_option_that_is_none_is_resumed_as_it_was(tmp_path: Path):
    named = SMALL | {"agent": "learnable:Limited", "agent_options": {"limit": None}, "steps": 2}
    assert train(named, tmp_path / "named", progress=False).limit is None
    run(tmp_path / "own", agent=Limited(limit=None), steps=2)
    for folder in (tmp_path / "named", tmp_path / "own"):
        assert train(folder / "config.toml", folder, resume=True, progress=False).limit is None


def test_an_agent_of_ones_own_is_resumed_with_its_own_seed(tmp_path: Path):
    mine = run(tmp_path / "own", agent=Based(seed=5), steps=2)
    resumed = train(tmp_path / "own" / "config.toml", tmp_path / "own", resume=True, progress=False)
    assert resumed.seed == 5 and resumed.card() == mine.card()


def test_a_run_does_not_go_on_with_other_base_weights(tmp_path: Path):
    run(tmp_path / "own", agent=Based(seed=5), steps=2)
    written = tmp_path / "own" / "config.toml"
    written.write_text(written.read_text().replace("seed = 5\n", ""))
    with pytest.raises(CheckpointError, match="expected other base numbers"):
        train(written, tmp_path / "own", resume=True, progress=False)


def test_the_card_of_a_run_from_a_checkpoint_keeps_what_was_before_also_after_a_break(tmp_path: Path):
    first = Stop()
    first.weights(make_task("precoding", "rayleigh-32"))
    checkpoint = first.save(tmp_path / "first", {"tasks": ["detection"], "training": {"steps": 2}})
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "next", agent=Stop(checkpoint=checkpoint))
    cards = [read_card(tmp_path / "next" / "last")]
    run(tmp_path / "next", resume=True, agent=Stop())  # as the configuration in the folder says it
    cards.append(read_card(tmp_path / "next" / "last"))
    assert [card["training"]["steps"] for card in cards] == [3, 6]
    assert all(card["tasks"] == ["detection", "precoding"] for card in cards)
    assert all(card["training"]["before"] == {"steps": 2} for card in cards)


def test_updates_that_are_not_finite_are_skipped_and_end_the_run_after_twenty(tmp_path: Path):
    with pytest.raises(DivergedError, match="step 24, precoding: expected a finite loss and gradient, got loss nan"):
        run(tmp_path / "nan", agent=NeverFinite(after=0.1), tasks=[ENTRY], steps=20 * 2, checkpoint_every=100, validate_every=100)
    agent = run(tmp_path / "some", agent=NeverFinite(after=0.5), tasks=[ENTRY], steps=6)
    card = json.loads((tmp_path / "some" / "last" / "card.json").read_text())
    assert card["training"]["skipped_updates"] == 3
    assert all(tensor.isfinite().all() for tensor in agent.saved_tensors().values())


def test_an_action_that_a_task_refuses_as_not_finite_is_skipped_too(tmp_path: Path):
    class Broken(Learnable):
        def forward(self, task, obs):
            action = super().forward(task, obs)
            return action * torch.nan if self.weights(task).training else action

    with pytest.raises(DivergedError, match="step 20"):
        run(tmp_path / "refused", agent=Broken(), steps=30)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("precoding", {"num_users": (1, 3)}),
        ("precoding", {"action": "structure"}),
        ("detection", {"llrs": True}),
        ("channel_prediction", {}),
        ("channel_prediction", {"noisy_targets": True}),
    ],
)
def test_episodes_that_were_moved_to_another_device_are_scored_there(name, options, monkeypatch):
    # The device that every machine has holds shapes and no numbers: actions aren't looked at, noise is that of other episodes.
    monkeypatch.setattr(Field, "check", lambda field, value, batch: value)
    own = generators(torch.arange(4), torch.arange(4), "noise")
    task = make_task(name, "rayleigh-32", **options)
    state, _ = task.reset(range(4))
    action = {field.name: field.sample(4, torch.Generator()) for field in task.action_fields}
    there = torch.device("meta")
    monkeypatch.setattr("wirelessgym.tasks.channel_prediction.generators", lambda *names: own)
    scores = task.score(to(state, there), to(action, there))
    assert {score.device for score in scores.values()} == {there}


def test_bf16_trains_too_and_other_precisions_may_follow(unbroken: Path, tmp_path: Path):
    run(tmp_path / "bf16", precision="bf16", steps=2)
    losses = [float(rows(out / "log.csv")[0]["loss"]) for out in (tmp_path / "bf16", unbroken)]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.1)


def test_a_folder_with_a_run_is_refused_unless_it_is_resumed_as_it_was(unbroken: Path, tmp_path: Path):
    with pytest.raises(FileExistsError, match="holds a run already"):
        run(unbroken)
    with pytest.raises(ConfigurationError, match=r"the run there has tasks\.0\.batch = 8, this configuration has 9"):
        run(unbroken, resume=True, tasks=[ENTRY | {"batch": 9}, ENTRY])
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        run(tmp_path, resume=True)


def test_agents_that_cannot_be_trained_are_refused_before_a_folder_is_made(tmp_path: Path):
    with pytest.raises(TypeError, match="agent 'zf' has no weights to train; expected a class of LearnedAgent"):
        train(SMALL | {"agent": "zf"}, tmp_path / "x", progress=False)
    with pytest.raises(TypeError, match="has no option 'depth'; it has: checkpoint, seed"):
        run(tmp_path / "x", agent_options={"depth": 3})
    with pytest.raises(ValueError, match="agent 'Learnable' doesn't do detection; it does: precoding"):
        run(tmp_path / "x", tasks=[ENTRY | {"task": "detection"}])
    with pytest.raises(ImportError, match="no module is called 'nowhere'"):
        train(SMALL | {"agent": "nowhere:Agent"}, tmp_path / "x", progress=False)

    class Constant(Learnable):
        def loss(self, task, state, obs, progress=1.0):
            return torch.zeros(())

    with pytest.raises(ValueError, match="its loss on precoding has no gradient"):
        run(tmp_path / "y", agent=Constant())
    assert not (tmp_path / "x").exists()


TOML = """
agent = "learnable:Learnable"
steps = 100000
checkpoint_every = 100000
warmup_steps = 1
agent_options = {hidden = 8}
[[tasks]]
task = "precoding"
scenario = "rayleigh-32"
batch = 8
validation_episodes = 8
"""


def test_the_command_line_trains_from_a_file_and_refuses_what_is_wrong(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(TOML)
    words = [
        "train",
        str(tmp_path / "mine.toml"),
        "--out",
        str(tmp_path / "run"),
        "--set",
        "steps=3",
        "--set",
        "draw_ahead=false",
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "Learnable: 48 weights trained" in done.output, done.output
    assert "step 0" in done.output and "step 3" in done.output
    wrong = CliRunner().invoke(app, [*words[:3], str(tmp_path / "b"), "--set", "step=3"])
    assert wrong.exit_code == 2 and "unknown key 'step'; did you mean 'steps'?" in wrong.output
    wrong = CliRunner().invoke(app, [*words[:2], "--resume"])
    assert wrong.exit_code == 2 and "name its folder" in wrong.output


def test_ctrl_c_on_the_command_line_saves_and_says_how_to_go_on_and_leaves_no_process(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(TOML)
    process = subprocess.Popen(
        [sys.executable, "-m", "wirelessgym", "train", "mine.toml", "--out", "run"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )
    log, deadline = tmp_path / "run" / "log.csv", time.monotonic() + 60
    while not (log.is_file() and len(log.read_text().splitlines()) > 2) and time.monotonic() < deadline:
        time.sleep(0.1)
    listing = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    children = listing.read_text().split() if listing.is_file() else []
    assert children or not listing.is_file()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "steps are done and saved; the same call with --out run --resume" in errors and "Traceback" not in errors
    assert (tmp_path / "run" / "resume.pt").is_file() and (tmp_path / "run" / "last" / "card.json").is_file()
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_models_are_listed_and_a_damaged_one_is_found(unbroken: Path, tmp_path: Path, monkeypatch):
    class Backbones:
        @staticmethod
        def catalogue():
            return []

    checkpoint = tmp_path / "mine"
    shutil.copytree(unbroken / "last", checkpoint)
    monkeypatch.setattr("wirelessgym.models.checkpoint_folders", lambda: {"mine": checkpoint})
    monkeypatch.setattr("wirelessgym.models.agent_module", lambda name: Backbones)
    listed = CliRunner().invoke(app, ["models"])
    assert listed.exit_code == 0 and "mine  precoding" in listed.output and "6 steps" in listed.output
    assert CliRunner().invoke(app, ["models", "list"]).output == listed.output
    assert CliRunner().invoke(app, ["models", "verify"]).exit_code == 0
    with (checkpoint / "weights.safetensors").open("ab") as file:
        file.write(b"x")
    broken = CliRunner().invoke(app, ["models", "verify", "mine"])
    assert broken.exit_code == 1 and "is corrupt, expected SHA-256" in broken.output
    unknown = CliRunner().invoke(app, ["models", "verify", "mein"])
    assert unknown.exit_code == 2 and "did you mean 'mine'?" in unknown.output


def test_models_say_what_is_missing_for_language_models(monkeypatch):
    def absent(name):
        raise ImportError("No module named 'transformers'")

    monkeypatch.setattr("wirelessgym.models.agent_module", absent)
    listed = CliRunner().invoke(app, ["models"])
    assert listed.exit_code == 0 and "pip install 'wirelessgym[llm]'" in listed.output
    assert CliRunner().invoke(app, ["models", "install", "smollm2-135m"]).exit_code == 2
