"""A run that fits an agent: all its episodes are sampled, then one fit uses them. See `wirelessgym.fitted.FittedAgent`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from wirelessgym.checkpoint import replace_folder
from wirelessgym.fields import Action, Obs
from wirelessgym.fitted import FittedAgent
from wirelessgym.progress import ProgressBar
from wirelessgym.rollouts import Policy, Rollout, headline
from wirelessgym.task import Task
from wirelessgym.train.config import Configuration
from wirelessgym.train.run_folder import LAST, RunState, begin, training_card
from wirelessgym.train.sampling import Drawer, step_seed, training_jobs, validation_jobs


def fit(
    config: Configuration, tasks: Mapping[str, Task], agent: FittedAgent, folder: Path, drawer: Drawer, bar: ProgressBar
) -> None:
    """Fit ``agent`` to ``config.steps`` batches, validate it, and write ``config.toml`` and ``last/`` to ``folder``.

    A fit has no halfway: one that was cut off, even if it's resumed, begins anew and gives the same numbers.
    """
    begin(folder, config)
    labels, begun = list(tasks), time.monotonic()

    def episodes() -> Iterator[tuple[Task, Any, Obs]]:
        for step, (job, batch) in enumerate(drawer.batches(training_jobs(config, 0)), 1):
            bar.step(step, "episodes")
            yield tasks[labels[job.entry]], *batch

    generator = torch.Generator().manual_seed(step_seed(config.seed, 0, "fit"))
    with torch.no_grad():
        agent.load_tensors(agent.fit(episodes(), generator, bar.say))
    played: dict[str, list[Any]] = {}
    for job, (state, obs) in drawer.batches(validation_jobs(config)):
        task = tasks[labels[job.entry]]
        played.setdefault(labels[job.entry], []).append(list(Rollout(task, state, obs).play(_acts(agent, task))))
    validation = {label: headline(tasks[label], transitions) for label, transitions in played.items()}
    for label, value in validation.items():
        bar.say(f"{label} {tasks[label].headline.name} {value:.4g}")
    state = RunState(step=config.steps, seconds=time.monotonic() - begun, validation=validation)
    with replace_folder(folder / LAST) as fresh:
        agent.save(fresh, training_card(config, tasks, agent, state, torch.device("cpu")))


def _acts(agent: FittedAgent, task: Task) -> Policy:
    def act(_: object, obs: Obs) -> Action:
        return agent.act(task.spec, obs)

    return act
