"""Finished outcomes, each in a file whose name changes with everything that its numbers depend on."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from wirelessgym.agent_spec import source_digest
from wirelessgym.evaluate.outcomes import Outcome
from wirelessgym.io import write_atomically
from wirelessgym.provenance import versions
from wirelessgym.record import SCHEMA
from wirelessgym.task import Task

CHECKSUM_BYTES = 32  # SHA-256, behind the content
COUNTS = ("late", "seconds", "parameters")

Outcomes: TypeAlias = dict[str | None, Outcome]  # by agent; None for the task's bound


def outcome_path(folder: Path, task: Task, seed: int, episodes: range, who: Sequence[Any]) -> Path:
    """File of an outcome.

    Args:
        folder: where outcomes are kept.
        task: what was played.
        seed: of the episodes.
        episodes: their numbers.
        who: what tells the agent's numbers from others'; empty for the task's bound.
    """
    settings = [task.id, task.options, task.scenario.model_dump(mode="json")]
    code = [SCHEMA, versions(), package_digest(), _source_digests(type(task), type(task.scenario.channel))]
    text = json.dumps([*code, *settings, seed, episodes.start, episodes.stop, *who], sort_keys=True, default=str)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"


def save(outcome: Outcome, path: Path) -> None:
    """Write an outcome, whole or not at all; a failure beside where a success would be, which ends it."""
    arrays: dict[str, Any] = {f"episodes.{key}": value for key, value in outcome.episodes.items()}
    arrays |= {"latency_s": outcome.latency_s, "traceback": np.array(outcome.traceback or "")}
    arrays |= {name: np.array(getattr(outcome, name)) for name in COUNTS}
    content = io.BytesIO()
    np.savez(content, **arrays)
    with write_atomically(failure_path(path) if outcome.traceback else path) as partial:
        partial.write_bytes(content.getvalue() + hashlib.sha256(content.getbuffer()).digest())
    if not outcome.traceback:
        failure_path(path).unlink(missing_ok=True)


def failure_path(path: Path) -> Path:
    """Where it is kept that there was a failure, for others to know; whose block it is plays it again."""
    return path.with_suffix(".failed")


def load(path: Path) -> Outcome | None:
    """Read a kept outcome; None where there is none, or its file is damaged."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    content = stored[:-CHECKSUM_BYTES]
    if hashlib.sha256(content).digest() != stored[-CHECKSUM_BYTES:]:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        episodes = {key.removeprefix("episodes."): file[key] for key in file if key.startswith("episodes.")}
        late, seconds, parameters = (file[name].item() for name in COUNTS)
        return Outcome(episodes, file["latency_s"], late, seconds, str(file["traceback"]) or None, parameters)


@lru_cache(maxsize=64)
def _source_digests(task: type, channel: type) -> list[str]:
    """Digests of the files that define a task's class and those that it extends, and the kind of channel."""
    return [source_digest(cls) for cls in (*task.__mro__, channel) if cls is not object]


@lru_cache(maxsize=1)
def package_digest() -> str:
    """Digest of this package's code and tables, agents included."""
    agents = importlib.util.find_spec("wirelessgym.agents")
    folders = [Path(__file__).parent.parent, *map(Path, (agents.submodule_search_locations or ()) if agents else ())]
    digest = hashlib.sha256()
    for path in sorted({path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".json")}):
        digest.update(path.read_bytes())
    return digest.hexdigest()
