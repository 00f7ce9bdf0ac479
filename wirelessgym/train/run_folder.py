"""The folder of a run: its configuration, its logs, its checkpoints, and what it needs to continue.

``config.toml``, ``log.csv``, ``validation.csv``, ``tensorboard/``, ``last/`` (a checkpoint, see `LearnedAgent.load`), ``best/``
(likewise, with ``keep = "best"``) and ``resume.pt``. Whenever a run is killed, ``resume.pt`` is whole, and it alone is needed to
continue; what the kill left half done is put right by `load_state`.
"""

from __future__ import annotations

import csv
import io
import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from wirelessgym.checkpoint import CheckpointError, read_card, recover_folder, replace_folder
from wirelessgym.io import write_atomically, write_text_atomically
from wirelessgym.learned import FIRST_TRAINING_SEED, FIRST_VALIDATION_SEED, LearnedAgent
from wirelessgym.provenance import versions
from wirelessgym.record import provenance
from wirelessgym.task import Task
from wirelessgym.toml import to_toml
from wirelessgym.train.config import Configuration, ConfigurationError, first_difference, read_configuration
from wirelessgym.train.sampling import uses

CONFIG = "config.toml"
RESUME = "resume.pt"
LAST = "last"
BEST = "best"

STEPS = ("step", "seconds", "task", "loss", "learning_rate", "gradient_norm", "episodes")
VALIDATIONS = ("step", "seconds", "task", "metric", "value", "episodes")


@dataclass
class RunState:
    """How far a run has come.

    Attributes:
        step: updates that were made or skipped.
        seconds: wall time, over all its parts.
        skipped: updates that were skipped, for a loss or gradient that wasn't finite.
        skipped_in_a_row: of these, how many were the latest in a row.
        validation: headline metrics of the latest validation, by label of the task entry.
        first_validation: of the one before the first step, or the first one at which a metric is finite.
        best_gain: of the best validation so far, see `mean_gain`.
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

    def mean_gain(self, tasks: Mapping[str, Task]) -> float:
        """How much better than at first the latest validation is, relative to it, as a mean over entries; -inf if not finite."""
        gains = []
        for label, value in self.validation.items():
            sign, first = 1 if tasks[label].headline.higher_is_better else -1, self.first_validation[label]
            gains.append(sign * (value - first) / max(abs(first), 1e-12))
        mean = sum(gains) / len(gains)
        return mean if math.isfinite(mean) else -math.inf


def check_folder(folder: Path, config: Configuration, resume: bool) -> None:
    """Check that a run can begin, or continue, in a folder.

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
            "a run continues with its own configuration; another one needs another folder"
        )


def begin(folder: Path, config: Configuration) -> None:
    """Write the configuration of a new run."""
    write_text_atomically(folder / CONFIG, to_toml(config.plain()))


def save_best(folder: Path, agent: LearnedAgent, card: Mapping[str, Any]) -> None:
    """Replace the checkpoint of the best validation."""
    with replace_folder(folder / BEST) as fresh:
        agent.save(fresh, card)


def save_state(
    folder: Path,
    state: RunState,
    agent: LearnedAgent,
    card: Mapping[str, Any],
    parameters: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
) -> None:
    """Replace the last checkpoint, then what the run needs to continue bit for bit: weights, optimiser, how far it has come."""
    with replace_folder(folder / LAST) as fresh:
        agent.save(fresh, card)
    content = {
        "done": asdict(state),
        "card": read_card(folder / LAST),
        "tensors": {name: tensor.detach() for name, tensor in agent.saved_tensors().items()},
        "parameters": [parameter.detach() for parameter in parameters],  # shares its memory, in the file too, with tensors
        "optimiser": optimiser.state_dict(),
    }
    buffer = io.BytesIO()  # torch hides what the system says of a full disk
    torch.save(content, buffer)
    with write_atomically(folder / RESUME) as partial:
        partial.write_bytes(buffer.getbuffer())


def load_state(folder: Path, agent: LearnedAgent, parameters: Sequence[Tensor], optimiser: torch.optim.Optimizer) -> RunState:
    """Put everything back where `save_state` found it; a run that was cut off before its first checkpoint begins anew.

    Raises:
        CheckpointError: if what was saved is damaged, or the agent's `check_card` refuses it, as for other base weights.
    """
    for name in (LAST, BEST):
        recover_folder(folder / name)
    for leftover in filter(Path.is_file, folder.glob("*.partial")):
        leftover.unlink()
    path = folder / RESUME
    if not path.is_file():
        card = {} if agent.checkpoint is None else read_card(agent.checkpoint_folder())
        return RunState(inherited={key: card[key] for key in ("tasks", "training") if key in card})
    content = path.read_bytes()
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:  # what torch makes of damaged bytes
        raise CheckpointError(f"{path} can't be read: {' '.join(str(error).split())}") from None
    agent.check_card(state["card"] if "card" in state else read_card(folder / LAST))
    agent.load_tensors(state["tensors"])
    with torch.no_grad():
        for mine, theirs in zip(parameters, state["parameters"], strict=True):
            mine.copy_(theirs)
    optimiser.load_state_dict(state["optimiser"])
    return RunState(**state["done"])


def training_card(
    config: Configuration, tasks: Mapping[str, Task], agent: LearnedAgent, state: RunState, device: torch.device
) -> dict[str, Any]:
    """Return what the trainer adds to an agent's card. Of the machine it names the hardware only.

    A run that began from a checkpoint keeps its tasks, and its training as ``before``.
    """
    counts = dict(zip(tasks, uses(config, state.step), strict=True))
    origin = provenance([task.scenario.channel for task in tasks.values()], round(state.seconds, 3)).model_dump(mode="json")
    origin["versions"] |= versions(("accelerate",))
    if device.type == "cuda":
        origin["hardware"] |= {"gpu": torch.cuda.get_device_name(device)}
    return {
        "tasks": list(dict.fromkeys([*state.inherited.get("tasks", ()), *(task.id for task in tasks.values())])),
        "training": {
            "steps": state.step,
            "episodes": {label: counts[label] * entry.batch for label, entry in zip(tasks, config.tasks, strict=True)},
            "skipped_updates": state.skipped,
            **origin,
            "seeds": {
                "weights": agent.seed,
                "training": FIRST_TRAINING_SEED + config.seed,
                "validation": FIRST_VALIDATION_SEED + config.seed,
            },
            "validation": {
                label: {"metric": tasks[label].headline.name, "value": value, "unit": tasks[label].headline.unit}
                for label, value in state.validation.items()
            },
            "configuration": config.plain(),
            **({"before": state.inherited["training"]} if "training" in state.inherited else {}),
        },
    }


class Log:
    """Writes ``log.csv``, ``validation.csv`` and ``tensorboard/`` in a run's folder. To be used in a ``with`` block.

    Args:
        folder: of the run.
        step: steps that are done; rows of what comes after them, which a cut-off run may have left, go.
    """

    def __init__(self, folder: Path, step: int) -> None:
        writer = _summary_writer()
        first = step + 1 if step else 0  # a run's start is validated as step 0, anew
        self._steps = _Lines(folder / "log.csv", STEPS, first)
        self._validations = _Lines(folder / "validation.csv", VALIDATIONS, first)
        self._events = writer(folder / "tensorboard", purge_step=first)

    def step(self, step: int, seconds: float, task: str, loss: float, rate: float, norm: float, episodes: int) -> None:
        """Log an update: the loss before it, gradient norm before clipping, training episodes so far."""
        self._steps.write((step, f"{seconds:.3f}", task, loss, rate, norm, episodes))
        for tag, value in ((f"loss/{task}", loss), ("learning_rate", rate), ("gradient_norm", norm)):
            self._events.add_scalar(tag, value, step)

    def validation(self, step: int, seconds: float, task: str, metric: str, value: float, episodes: int) -> None:
        """Log a validated metric."""
        self._validations.write((step, f"{seconds:.3f}", task, metric, value, episodes))
        self._events.add_scalar(f"validation/{task}/{metric}", value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Close all files."""
        self._steps.close()
        self._validations.close()
        self._events.close()


class _Lines:
    """A CSV file that is complete up to the last row at any time; floats stand in it to the last bit.

    Rows of steps from ``first`` on, which are to be written anew, are dropped.
    """

    def __init__(self, path: Path, header: Sequence[str], first: int) -> None:
        kept: list[list[str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.reader(file) if len(row) == len(header)]
            kept = [row for row in rows if row[0].isdecimal() and int(row[0]) < first]
        text = io.StringIO()
        csv.writer(text).writerows([header, *kept])
        write_text_atomically(path, text.getvalue())
        self._file = path.open("a", newline="", encoding="utf-8", buffering=1)
        self._writer = csv.writer(self._file)

    def write(self, row: Sequence[object]) -> None:
        self._writer.writerow(row)

    def close(self) -> None:
        self._file.close()


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(f"training logs to TensorBoard: pip install 'wirelessgym[train]' ({error})") from None
    return SummaryWriter


def _at(data: Any, key: str) -> Any:
    for part in key.split("."):
        data = data[int(part)] if isinstance(data, list) else data.get(part) if isinstance(data, Mapping) else None
    return data
