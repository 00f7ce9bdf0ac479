"""The runner: blocks of episodes, spread over processes, each kept as soon as it is done.

Work is cut into blocks of episodes whose size depends on the task alone, so results depend neither on the number of
processes nor on the order in which blocks finish. All agents play a block from the same drawn start.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import joblib
import numpy as np
import torch

from wirelessgym.agent_spec import AgentSpec, source_digest
from wirelessgym.evaluate.outcomes import Deadline, Outcome, bounds, play
from wirelessgym.record import SCHEMA, versions
from wirelessgym.rollouts import Trajectory
from wirelessgym.task import Task

Outcomes: TypeAlias = dict[str | None, Outcome]  # by agent; None for the task's bound

MAX_BLOCK_EPISODES = 64
MAX_BLOCK_BYTES = 16 * 2**20  # a block holds the observations of all its steps
PROCESSES_PAY_AFTER_S = 20.0  # starting them takes five to ten seconds of importing torch and sionna each


@dataclass(frozen=True)
class Block:
    """Some episodes of one point of a comparison, and who plays them.

    Attributes:
        task: the task at that point.
        seed: seed of the episodes.
        episodes: their numbers.
        agents: who plays.
        deadline_s: time limit of a decision, None without.
        fallback: who acts after it.
        folder: where finished outcomes are kept, None for nowhere.
    """

    task: Task
    seed: int
    episodes: range
    agents: tuple[AgentSpec, ...]
    deadline_s: float | None = None
    fallback: AgentSpec | None = None
    folder: Path | None = None

    @property
    def players(self) -> dict[str | None, AgentSpec | None]:
        """Who has an outcome: every agent by name, and None for the task's bound."""
        return {None: None, **{agent.name: agent for agent in self.agents}}

    @cached_property
    def _definition(self) -> list[Any]:
        settings = [self.task.id, self.task.options, self.task.scenario.model_dump(mode="json")]
        code = [SCHEMA, versions(), package_digest(), source_digest(type(self.task))]
        return [*code, *settings, self.seed, self.episodes.start, self.episodes.stop]

    def path(self, agent: AgentSpec | None) -> Path | None:
        """File of an outcome; its name changes with everything that its numbers depend on."""
        if self.folder is None:
            return None
        who: list[Any] = []
        if agent is not None:
            who = [agent.digest, self.deadline_s, self.fallback.digest if self.fallback else None]
        text = json.dumps([*self._definition, *who], sort_keys=True, default=str)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"

    def stored(self) -> Outcomes:
        """Outcomes that an earlier run has left."""
        found: Outcomes = {}
        for name, agent in self.players.items():
            path = self.path(agent)
            if path is not None and (outcome := _load(path)) is not None:
                found[name] = outcome
        return found


def cut(episodes: int, task: Task) -> list[range]:
    """Cut episodes 0 to ``episodes`` - 1 into blocks: at most 64 of them, and at most 16 MB of observations a step."""
    bytes_each = sum(math.prod(f.shape) * f.torch_dtype.itemsize for f in task.observation_fields)
    size = max(1, min(MAX_BLOCK_EPISODES, MAX_BLOCK_BYTES // max(1, bytes_each)))
    return [range(start, min(start + size, episodes)) for start in range(0, episodes, size)]


def run_block(block: Block) -> Outcomes:
    """Play a block with everybody whose outcome isn't kept yet; agents are made anew for each block."""
    outcomes = block.stored()
    missing = {name: agent for name, agent in block.players.items() if name not in outcomes}
    with one_thread():
        task, start = block.task, block.task.reset(block.episodes, block.seed)
        trajectory = Trajectory(task, *start) if task.open_loop else None
        for name, agent in missing.items():
            if agent is None:
                outcome = bounds(task, start, trajectory)
            else:
                deadline = None
                if block.deadline_s is not None and block.fallback is not None:
                    deadline = Deadline(block.deadline_s, block.fallback.make())
                first = block.episodes.start == 0
                outcome = play(task, agent.make(), start, trajectory, deadline=deadline, timed=first)
            if outcome.traceback is None and (path := block.path(agent)) is not None:
                _save(outcome, path)  # a failed agent is tried again by the next run
            outcomes[name] = outcome
    return outcomes


def run_blocks(blocks: Sequence[Block], processes: int | None = None) -> Iterator[tuple[int, Outcomes]]:
    """Play blocks and yield (index, outcomes) as they finish, in any order.

    Args:
        blocks: what to play.
        processes: how many processes; 1 stays in this one. None: as many as there are cores, as soon as what is left
            looks long enough to pay for starting them.
    """
    waiting: list[tuple[int, Block]] = []
    for index, block in enumerate(blocks):
        kept = block.stored()
        if len(kept) == len(block.players):
            yield index, kept
        else:
            waiting.append((index, block))
    cores = joblib.cpu_count() if processes is None else processes
    while waiting and (processes is None or cores == 1 or len(waiting) == 1):
        index, block = waiting.pop(0)
        begin = time.perf_counter()
        outcomes = run_block(block)
        seconds = time.perf_counter() - begin
        yield index, outcomes
        if cores > 1 and seconds * len(waiting) > PROCESSES_PAY_AFTER_S:
            break
    if not waiting:
        return
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(n_jobs=cores, return_as="generator_unordered", batch_size=1)
    yield from parallel(joblib.delayed(_numbered)(index, block) for index, block in waiting)


def _numbered(index: int, block: Block) -> tuple[int, Outcomes]:
    return index, run_block(replace(block, task=_built(block.task)))


@lru_cache(maxsize=2)
def _built(task: Task) -> Task:
    """The first equal task that came to this process: its channel is already built."""
    return task


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread: sums over several threads would round differently from machine to machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _save(outcome: Outcome, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    arrays: dict[str, Any] = {f"episodes.{key}": value for key, value in outcome.episodes.items()}
    arrays |= {"latency_s": outcome.latency_s, "late": np.array(outcome.late), "seconds": np.array(outcome.seconds)}
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    os.replace(partial, path)


def _load(path: Path) -> Outcome | None:
    """Read a kept outcome; None where there is none, or its file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            episodes = {key.removeprefix("episodes."): file[key] for key in file if key.startswith("episodes.")}
            return Outcome(episodes, file["latency_s"], int(file["late"]), float(file["seconds"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


@lru_cache(maxsize=1)
def package_digest() -> str:
    """Digest of this package's code, agents included."""
    agents = importlib.util.find_spec("wirelessgym.agents")
    folders = [Path(__file__).parent.parent, *map(Path, (agents.submodule_search_locations or ()) if agents else ())]
    digest = hashlib.sha256()
    for path in sorted({path for folder in folders for path in folder.rglob("*.py")}):
        digest.update(path.read_bytes())
    return digest.hexdigest()
