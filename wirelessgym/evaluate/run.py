"""A comparison under way: its blocks are played, each point becomes records once all of its blocks are there."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from wirelessgym.evaluate.kept import Outcomes
from wirelessgym.evaluate.players import Players
from wirelessgym.evaluate.runner import Block, Work, cut, run_blocks
from wirelessgym.evaluate.seeds import SecretSeed
from wirelessgym.evaluate.shards import Shard
from wirelessgym.evaluate.standings import Summary, with_standings
from wirelessgym.evaluate.summary import Plan, Point, summarise
from wirelessgym.evaluate.table import Table
from wirelessgym.parallel import Executor
from wirelessgym.record import write_record


@dataclass
class Run:
    """A comparison, from its plan to its table.

    Attributes:
        plan: who plays, and what all points share.
        points: what is played.
        players: makes the agents.
        executor: where.
        folder: where blocks, records and the table are kept; None for nowhere.
        shard: the part that is played here; None for all of it.
    """

    plan: Plan
    points: Sequence[Point]
    players: Players
    executor: Executor
    folder: Path | None = None
    shard: Shard | None = None
    _done: dict[int, Summary] = field(default_factory=dict, init=False)
    _failures: dict[str, str] = field(default_factory=dict, init=False)

    def play(self, progress: bool) -> Table:
        """Play what is to be played here, and return the table of the points that are complete; it is saved, also after Ctrl-C.

        Args:
            progress: whether to show progress on a terminal.
        """
        try:
            missing = self._play(progress)
        except KeyboardInterrupt:
            self._save(self._table())
            kept = "; finished blocks are kept, the same call with this out goes on from here" if self.folder else ""
            print(f"interrupted: {len(self._done)} of {len(self.points)} points are complete{kept}", file=sys.stderr)
            raise
        if missing:
            self._say(f"done, kept in {self.folder}; {missing} blocks of other shards aren't there yet")
            for agent, how in sorted(self._failures.items()):
                self._say(f"agent {agent!r} failed: {how}")
        table = self._table()
        self._save(table)
        return table

    def _play(self, progress: bool) -> int:
        """Play all blocks and sum up each point that is complete; return how many blocks are missing elsewhere."""
        plan, tasks = self.plan, tuple(point.task for point in self.points)
        seed = plan.seed.value if isinstance(plan.seed, SecretSeed) else plan.seed
        kept = self.folder / "blocks" if self.folder is not None else None
        work = Work(tasks, seed, plan.agents, self.players, plan.deadline_s, plan.fallback, kept)
        blocks = [block for index, task in enumerate(tasks) for block in cut(index, task, plan.episodes)]
        left = Counter(block.point for block in blocks)
        waiting: dict[int, dict[int, Outcomes]] = {index: {} for index in left}
        for number, outcomes in self._outcomes(blocks, work, progress):
            index = blocks[number].point
            waiting[index][number] = outcomes
            left[index] -= 1
            if not left[index]:
                ordered = [found for _, found in sorted(waiting.pop(index).items())]
                self._done[index] = summarise(plan, self.points[index], ordered)
        return left.total()

    def _outcomes(self, blocks: Sequence[Block], work: Work, progress: bool) -> Iterator[tuple[int, Outcomes]]:
        """Number and outcomes of the blocks that are played here, as they finish, then of those that other shards have left."""
        ours = [number for number in range(len(blocks)) if self.shard is None or self.shard.has(number)]
        with _progress(progress) as bar:
            shown = bar.add_task(work.tasks[0].id, total=len(ours))
            for position, outcomes in run_blocks([blocks[number] for number in ours], work, self.executor):
                for name, outcome in outcomes.items():
                    if outcome.traceback is not None:
                        self._failures[str(name)] = outcome.traceback.strip().rpartition("\n")[2]
                yield ours[position], outcomes
                bar.advance(shown)
        for number in sorted(set(range(len(blocks))) - set(ours)):
            if len(stored := work.stored(blocks[number], failures=True)) == len(work.rows):
                yield number, stored

    def _table(self) -> Table:
        tables: dict[int, list[Summary]] = {}
        for index, summary in sorted(self._done.items()):
            tables.setdefault(self.points[index].table, []).append(summary)
        return Table([record for table in tables.values() for record in with_standings(table)], frozenset(self._failures))

    def _say(self, what: str) -> None:
        print(f"shard {self.shard}: {what}", file=sys.stderr)

    def _save(self, table: Table) -> None:
        if self.folder is None or not table.records:
            return
        for record in table.records:
            write_record(record, self.folder / "records")
        table.to_csv(self.folder / "results.csv")


def _progress(wanted: bool) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("blocks,"))
    times = (TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, transient=True, disable=not (wanted and console.is_terminal))
