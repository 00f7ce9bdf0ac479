"""A run that is killed at any moment of a save continues as if nothing had happened."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from learnable import Learnable
from test_train import ENTRY, course

from wirelessgym import make_task
from wirelessgym.checkpoint import CheckpointError, load_weights, read_card, tensors_digest
from wirelessgym.train import read_configuration, train
from wirelessgym.train.loop import make_optimiser
from wirelessgym.train.run_folder import RunState, begin, load_state, save_best, save_state

RUN = {
    "agent": "learnable:Learnable",
    "steps": 3,
    "validate_every": 1,
    "checkpoint_every": 1,
    "keep": "best",
    "learning_rate": 0.02,
    "draw_ahead": False,
    "tasks": [ENTRY | {"batch": 4, "validation_episodes": 4}],
}
TASK = make_task("precoding", "rayleigh-32")
CALLS = (
    (os, "replace"),
    (os, "rename"),
    (os, "open"),
    (os, "fsync"),
    (os, "mkdir"),
    (os, "unlink"),
    (os, "rmdir"),
    (shutil, "rmtree"),
)


class Killed(BaseException):
    """The process has ended here."""


class Killer:
    """Kills the process at its n-th call to the file system, counted from 1.

    What it would still try, to clean up, does nothing either; a file that it writes at that moment stays half written.
    """

    def __init__(self, patch: pytest.MonkeyPatch, at: int = 0, only: tuple[tuple[Any, str], ...] = CALLS) -> None:
        self.calls, self.at = 0, at
        for owner, name in only:
            patch.setattr(owner, name, self._counted(getattr(owner, name)))
        if only is CALLS:
            for name in ("write_bytes", "write_text"):
                patch.setattr(Path, name, self._counted(getattr(Path, name), half=True))

    def _counted(self, call: Callable[..., Any], half: bool = False) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.at and self.calls >= self.at:
                if half and self.calls == self.at:
                    call(args[0], args[1][: len(args[1]) // 2], **options)
                raise Killed
            return call(*args, **options)

        return counted


class Run:
    """An agent with an optimiser that has made ``steps`` updates, and the folder it is saved in."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.agent = folder, Learnable(seed=3)
        self.parameters = list(self.agent.weights(TASK).parameters())
        self.optimiser = make_optimiser(self.parameters, read_configuration(RUN))
        for step in range(steps):
            for parameter in self.parameters:
                parameter.grad = torch.full_like(parameter, 1.0 + step)
            self.optimiser.step()
        self.state = RunState(step=steps, best_gain=0.1 * steps)

    def save(self) -> None:
        card = {"training": {"steps": self.state.step}}
        save_best(self.folder, self.agent, card)
        save_state(self.folder, self.state, self.agent, card, self.parameters, self.optimiser)

    def contents(self) -> tuple[Any, ...]:
        moments = [value.tolist() for each in self.optimiser.state_dict()["state"].values() for value in each.values()]
        return asdict(self.state), self.agent.fingerprint, moments

    @classmethod
    def resumed(cls, folder: Path) -> Run:
        run = cls(folder, 0)
        run.state = load_state(folder, run.agent, run.parameters, run.optimiser)
        return run


def saved_once(folder: Path) -> Path:
    begin(folder, read_configuration(RUN))
    Run(folder, 1).save()
    return folder


def test_whenever_a_save_is_cut_off_the_run_is_found_as_it_was_before_or_after(tmp_path: Path):
    with pytest.MonkeyPatch.context() as patch:
        whole = Killer(patch)
        saved_once(tmp_path / "whole")
        first = whole.calls
        Run(tmp_path / "whole", 2).save()
    before, after = (Run(tmp_path / "x", steps).contents() for steps in (1, 2))
    found = []
    for at in range(1, whole.calls - first + 1):
        folder = saved_once(tmp_path / str(at))
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            Killer(patch, at)
            Run(folder, 2).save()
        found.append(Run.resumed(folder).contents())
        assert found[-1] in (before, after), at
        for name in ("last", "best"):
            steps = read_card(folder / name)["training"]["steps"]
            assert tensors_digest(load_weights(folder / name)) == (before, after)[steps - 1][1], at
        assert {path.name for path in folder.iterdir()} == {"config.toml", "resume.pt", "last", "best"}, at
    assert len(found) > 20 and found[0] == before and found[-1] == after
    assert found == sorted(found, key=lambda run: run == after)  # never a step back


def test_whenever_the_first_save_is_cut_off_the_run_begins_anew_or_is_found(tmp_path: Path):
    with pytest.MonkeyPatch.context() as patch:
        whole = Killer(patch)
        saved_once(tmp_path / "whole")
    anew, saved = Run.resumed(tmp_path / "nothing").contents(), Run(tmp_path / "x", 1).contents()
    for at in range(1, whole.calls + 1):
        folder = tmp_path / str(at)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            Killer(patch, at)
            saved_once(folder)
        assert Run.resumed(folder).contents() in (anew, saved), at
        assert {path.name for path in folder.glob("*")} <= {"config.toml", "resume.pt", "last", "best"}, at


def test_a_run_killed_between_any_two_renames_of_its_last_save_continues_bit_for_bit(tmp_path: Path):
    renames = ((os, "replace"),)
    with pytest.MonkeyPatch.context() as patch:
        whole = Killer(patch, only=renames)
        weights = train(RUN, tmp_path / "whole", progress=False).fingerprint
    for at in range(whole.calls - 6, whole.calls + 1):
        folder = tmp_path / str(at)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            Killer(patch, at, renames)
            train(RUN, folder, progress=False)
        assert train(RUN, folder, resume=True, progress=False).fingerprint == weights, at
        assert course(folder) == course(tmp_path / "whole"), at
        assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}, at


def test_what_an_older_version_left_between_two_renames_is_found(tmp_path: Path):
    folder = saved_once(tmp_path / "run")
    state = torch.load(folder / "resume.pt", weights_only=True)
    del state["card"]  # which it didn't keep there
    torch.save(state, folder / "resume.pt")
    (folder / "last").rename(folder / "last.old")
    shutil.copytree(folder / "best", folder / "last.partial")
    (folder / "resume.pt.partial").write_bytes(b"half")
    assert Run.resumed(folder).contents() == Run(tmp_path, 1).contents()
    assert {path.name for path in folder.iterdir()} == {"config.toml", "resume.pt", "last", "best"}


def test_a_run_continues_without_its_last_checkpoint_and_not_with_a_damaged_state(tmp_path: Path):
    folder = saved_once(tmp_path / "run")
    shutil.rmtree(folder / "last")
    assert Run.resumed(folder).state.step == 1
    (folder / "resume.pt").write_bytes((folder / "resume.pt").read_bytes()[:-500])
    with pytest.raises(CheckpointError, match=r"resume\.pt can't be read"):
        Run.resumed(folder)
