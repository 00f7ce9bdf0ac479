"""What a comparison will need, estimated from sizes alone, before anything is sampled or listed.

The constants are fits to what blocks of precoding, detection and prediction took (1 to 1,024 antennas, 1 to 192 subcarriers, 1 to
32 users): memory within a factor of two, time at least a third of what comes out on one core of 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from wirelessgym.evaluate.runner import block_size
from wirelessgym.task import Task

BYTES_PER_PROCESS = 350 * 10**6  # torch and sionna
BYTES_PER_STRANGER = 60 * 10**6  # its own process, beside the imports that it shares
BYTES_PER_LINK = 70_000  # the rays of one user's channel, with what sampling them needs
RESPONSES = 8.0  # channel responses of one slot that exist at a time: state, observation, copies, actions
OBSERVATIONS = 2.2  # observations of a whole episode: kept for all agents, and in the state
SECONDS_PER_LINK = 1e-4  # one user, one step
SECONDS_PER_COEFFICIENT = 1e-8
LONG_S = 3600.0


@dataclass(frozen=True)
class Needs:
    """What a comparison needs.

    Attributes:
        block_bytes: memory of the largest block while it is played.
        worker_bytes: memory of a worker beside that: packages, agents in processes of their own.
        result_bytes: memory of all episodes' metrics, in the process that compares.
        cpu_s: seconds on one core, at least.
    """

    block_bytes: float
    worker_bytes: float
    result_bytes: float
    cpu_s: float

    def memory_bytes(self, workers: int) -> float:
        """Memory with as many workers; one is this process, whose packages are there already."""
        extra = BYTES_PER_PROCESS * workers if workers > 1 else 0
        return self.result_bytes + workers * (self.block_bytes + self.worker_bytes) + extra


def needs(tasks: Sequence[Task], episodes: int, agents: int, strangers: int) -> Needs:
    """Estimate what a comparison needs.

    Args:
        tasks: the task at each point.
        episodes: at each point.
        agents: how many play.
        strangers: how many of them in processes of their own.
    """
    numbers = max(
        sum(1 + users * (metric is task.headline) for metric in task.metrics) for task in tasks for users in [_users(task)]
    )
    return Needs(
        block_bytes=max(min(block_size(task), episodes) * _episode_bytes(task) for task in tasks),
        worker_bytes=BYTES_PER_STRANGER * strangers,
        result_bytes=8.0 * 2 * numbers * (agents + 1) * episodes,
        cpu_s=sum(float(episodes) * _episode_s(task) for task in tasks),
    )


def refuse_too_large(what: Needs, workers: int) -> None:
    """Refuse a comparison that doesn't fit into the memory that is free.

    Raises:
        ValueError: naming what is needed, what is free, and what would help.
    """
    free = free_bytes()
    if what.memory_bytes(workers) <= free:
        return
    parts = f"{_size(what.block_bytes)} for the episodes that are played at once, {_size(what.result_bytes)} for results"
    fewer = f", or fewer than {workers} processes" if workers > 1 else ""
    raise ValueError(
        f"this comparison needs about {_size(what.memory_bytes(workers))} of memory ({parts}), {_size(free)} are free; "
        f"take fewer antennas, subcarriers, users or episodes{fewer}"
    )


def fitting_workers(what: Needs, wanted: int) -> int:
    """How many of the wanted workers fit into the memory that is free; at least one."""
    free = free_bytes()
    return next((workers for workers in range(wanted, 1, -1) if what.memory_bytes(workers) <= free), 1)


def warning(what: Needs, workers: int) -> str | None:
    """What to say before a comparison that takes more than an hour, None for shorter ones."""
    hours = what.cpu_s / workers / 3600
    if hours * 3600 < LONG_S:
        return None
    time = f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:,.0f} days"
    return f"this comparison takes at least {time} on {workers} core{'s' * (workers > 1)}"


def free_bytes() -> float:
    """Memory that this process may still take: what the machine has left, and no more than its container allows."""
    free = float(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (float((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return free
    return min(free, max(limit - used, 0.0))


def _users(task: Task) -> int:
    return task.channel_size[0]


def _episode_bytes(task: Task) -> float:
    users, subcarriers = task.channel_size
    response = 8.0 * users * subcarriers * task.scenario.num_antennas
    observation = float(sum(f.bytes_each for f in task.observation_fields))
    return BYTES_PER_LINK * users + RESPONSES * response + OBSERVATIONS * observation * task.horizon


def _episode_s(task: Task) -> float:
    users, subcarriers = task.channel_size
    coefficients = users * subcarriers * task.scenario.num_antennas
    return task.horizon * (SECONDS_PER_LINK * users + SECONDS_PER_COEFFICIENT * coefficients + task.seconds_per_step)


def _size(count: float) -> str:
    for unit in ("MB", "GB", "TB"):
        count /= 1000 if unit != "MB" else 1e6
        if count < 1000 or unit == "TB":
            break
    return f"{count:,.3g} {unit}" if count < 1e6 else f"{count:.1e} {unit}"
