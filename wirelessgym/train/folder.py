"""The folder of a run: its configuration, its checkpoints, and what it needs to go on.

``config.toml``, ``log.csv``, ``validation.csv``, ``tensorboard/``, ``last/`` (a checkpoint, see `LearnedAgent.load`), ``best/``
(likewise, with ``keep = "best"``) and ``resume.pt``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wirelessgym.checkpoint import read_card
from wirelessgym.learned import LearnedAgent
from wirelessgym.train.config import Configuration, ConfigurationError, first_difference, read_configuration
from wirelessgym.train.toml import to_toml

CONFIG = "config.toml"
RESUME = "resume.pt"
LAST = "last"
BEST = "best"


@dataclass
class Done:
    """How far a run has come.

    Attributes:
        step: updates that were made or skipped.
        seconds: wall time, over all its parts.
        skipped: updates that were skipped, for a loss or gradient that wasn't finite.
        skipped_in_a_row: of these, the latest ones in a row.
        validation: headline metrics of the latest validation, by label of the task entry.
        first_validation: of the one before the first step, or the first one at which a metric is finite.
        best_gain: of the best validation so far, see `wirelessgym.train.validation.mean_gain`.
        inherited: ``tasks`` and ``training`` in the card of the checkpoint that the run began from; nothing for fresh weights.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    validation: dict[str, float] = field(default_factory=dict)
    first_validation: dict[str, float] = field(default_factory=dict)
    best_gain: float | None = None
    inherited: dict[str, Any] = field(default_factory=dict)


def check_folder(folder: Path, config: Configuration, resume: bool) -> None:
    """Look whether a run can begin, or go on, in a folder.

    Raises:
        FileExistsError: if a run is there and isn't to be resumed.
        FileNotFoundError: if none is there to be resumed.
        ConfigurationError: if it has another configuration; the message names the first key that differs.
    """
    path = folder / CONFIG
    if not resume:
        if path.exists():
            raise FileExistsError(f"{folder} holds a run already; resume it, or take another folder")
        return
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no run to resume, {CONFIG} is missing")
    theirs, mine = read_configuration(path).plain(), config.plain()
    if (key := first_difference(theirs, mine)) is not None:
        raise ConfigurationError(
            f"{folder}: the run there has {key} = {_at(theirs, key)!r}, this configuration has {_at(mine, key)!r}; "
            "a run goes on with its own configuration, another one needs another folder"
        )


def begin(folder: Path, config: Configuration) -> None:
    """Write the configuration of a new run."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{CONFIG}.partial"
    partial.write_text(to_toml(config.plain()), encoding="utf-8")
    os.replace(partial, folder / CONFIG)


def save_checkpoint(agent: LearnedAgent, folder: Path, card: Mapping[str, Any]) -> None:
    """Write a checkpoint so that a complete one is there at any time."""
    fresh, old = folder.with_name(folder.name + ".partial"), folder.with_name(folder.name + ".old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    agent.save(fresh, card)
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def save_state(
    folder: Path, done: Done, agent: LearnedAgent, parameters: Sequence[Tensor], optimiser: torch.optim.Optimizer
) -> None:
    """Write what a run needs to go on exactly, whole or not at all: trained weights, optimiser, how far it has come."""
    state = {
        "done": asdict(done),
        "tensors": {name: tensor.detach() for name, tensor in agent.saved_tensors().items()},
        "parameters": [parameter.detach() for parameter in parameters],  # shares its memory, in the file too, with tensors
        "optimiser": optimiser.state_dict(),
    }
    partial = folder / f"{RESUME}.partial"
    torch.save(state, partial)
    os.replace(partial, folder / RESUME)


def load_state(folder: Path, agent: LearnedAgent, parameters: Sequence[Tensor], optimiser: torch.optim.Optimizer) -> Done:
    """Put everything back where `save_state` found it; a run that was cut off before its first checkpoint begins anew.

    Raises:
        CheckpointError: for an agent whose `check_card` refuses the run's checkpoint, as for other base weights.
    """
    if not (folder / RESUME).is_file():
        card = {} if agent.checkpoint is None else read_card(agent.checkpoint_folder())
        return Done(inherited={key: card[key] for key in ("tasks", "training") if key in card})
    agent.check_card(read_card(folder / LAST))
    state = torch.load(folder / RESUME, map_location="cpu", weights_only=True)
    agent.load_tensors(state["tensors"])
    with torch.no_grad():
        for mine, theirs in zip(parameters, state["parameters"], strict=True):
            mine.copy_(theirs)
    optimiser.load_state_dict(state["optimiser"])
    return Done(**state["done"])


def _at(data: Any, key: str) -> Any:
    for part in key.split("."):
        data = data[int(part)] if isinstance(data, list) else data.get(part) if isinstance(data, Mapping) else None
    return data
