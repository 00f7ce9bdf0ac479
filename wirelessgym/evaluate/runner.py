"""The runner: blocks of episodes, handed to an executor, each kept as soon as it is done.

Work is cut into blocks of episodes whose size depends on the task alone, so results depend neither on the executor nor on the
order in which blocks finish. All agents play a block from the same sampled start.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from wirelessgym.agent_spec import AgentSpec
from wirelessgym.evaluate.kept import Outcomes, failure_path, load, outcome_path, save
from wirelessgym.evaluate.outcomes import Deadline, Outcome, bounds, failed, play
from wirelessgym.evaluate.players import Players
from wirelessgym.isolation.process import AgentFailure
from wirelessgym.parallel import Executor, one_thread
from wirelessgym.rollouts import Trajectory
from wirelessgym.task import Task

MAX_BLOCK_EPISODES = 64
MAX_BLOCK_BYTES = 16 * 2**20  # a block holds the observations of all its steps


@dataclass(frozen=True)
class Block:
    """Some episodes of one point of a comparison.

    Attributes:
        point: index of the point.
        episodes: their numbers.
    """

    point: int
    episodes: range


@dataclass(frozen=True)
class Work:
    """What all blocks of a comparison share.

    Attributes:
        tasks: the task at each point.
        seed: seed of the episodes.
        agents: who plays.
        players: makes them.
        deadline_s: time limit of a decision, None without.
        fallback: who acts after it.
        folder: where finished outcomes are kept, None for nowhere.
    """

    tasks: tuple[Task, ...]
    seed: int
    agents: tuple[AgentSpec, ...]
    players: Players
    deadline_s: float | None = None
    fallback: AgentSpec | None = None
    folder: Path | None = None

    @property
    def rows(self) -> dict[str | None, AgentSpec | None]:
        """Who has an outcome: every agent by name, and None for the task's bound."""
        return {None: None, **{agent.name: agent for agent in self.agents}}

    def path(self, block: Block, agent: AgentSpec | None) -> Path | None:
        """File of an outcome, None if nothing is kept."""
        if self.folder is None:
            return None
        who = []
        if agent is not None:
            who = [agent.digest, self.deadline_s, self.fallback.digest if self.fallback else None]
        return outcome_path(self.folder, self.tasks[block.point], self.seed, block.episodes, who)

    def stored(self, block: Block, *, failures: bool = False) -> Outcomes:
        """Outcomes that an earlier run, or another shard, has left; failures only if asked for, as they are tried again."""
        found: Outcomes = {}
        for name, agent in self.rows.items():
            if (path := self.path(block, agent)) is None:
                continue
            outcome = load(path)
            if outcome is None and failures:
                outcome = load(failure_path(path))
            if outcome is not None:
                found[name] = outcome
        return found


def block_size(task: Task) -> int:
    """Episodes of a block: at most 64, and at most 16 MB of observations a step."""
    bytes_each = sum(field.bytes_each for field in task.observation_fields)
    return max(1, min(MAX_BLOCK_EPISODES, MAX_BLOCK_BYTES // max(1, bytes_each)))


def cut(point: int, task: Task, episodes: int) -> Iterator[Block]:
    """Yield the blocks of episodes 0 to ``episodes`` - 1 of a point, in order."""
    size, start = block_size(task), 0
    while start < episodes:
        yield Block(point, range(start, min(start + size, episodes)))
        start += size


def run_block(block: Block, work: Work) -> Outcomes:
    """Play a block with everybody whose outcome isn't kept yet; agents are made anew for each block."""
    outcomes = work.stored(block)
    missing = {name: agent for name, agent in work.rows.items() if name not in outcomes}
    with one_thread():
        task = _built(work.tasks[block.point])
        start = task.reset(block.episodes, work.seed)
        trajectory = Trajectory(task, *start) if task.open_loop else None
        for name, agent in missing.items():
            outcome = bounds(task, start, trajectory) if agent is None else _played(work, block, agent, task, start, trajectory)
            if (path := work.path(block, agent)) is not None:
                save(outcome, path)
            outcomes[name] = outcome
    return outcomes


def _played(work: Work, block: Block, agent: AgentSpec, task: Task, start: Any, trajectory: Trajectory | None) -> Outcome:
    deadline = None
    try:
        if work.deadline_s is not None and work.fallback is not None:
            deadline = Deadline(work.deadline_s, work.players.make(work.fallback))
        player = work.players.make(agent)
    except AgentFailure as failure:
        return failed(failure)
    return play(task, player, start, trajectory, deadline=deadline, timed=block.episodes.start == 0)


def run_blocks(blocks: Sequence[Block], work: Work, executor: Executor) -> Iterator[tuple[int, Outcomes]]:
    """Play blocks and yield (index, outcomes) as they finish, in any order.

    Args:
        blocks: what to play.
        work: what they share.
        executor: where.
    """
    waiting: list[int] = []
    for index, block in enumerate(blocks):
        kept = work.stored(block)
        if len(kept) == len(work.rows):
            yield index, kept
        else:
            waiting.append(index)
    if waiting:
        with executor:
            for number, outcomes in executor.run(run_block, [blocks[index] for index in waiting], work):
                yield waiting[number], outcomes


@lru_cache(maxsize=2)
def _built(task: Task) -> Task:
    """A copy of the first equal task that came to this process: its channel is already built."""
    return copy.copy(task)
