"""The training loop: draw, act, follow the gradient; validate, log, keep.

A run is a pure function of its configuration on a given machine. The task, the episodes, the learning rate and the random
numbers (dropout) of a step depend on the seed and the step's number only, so a run that goes on after a break makes the same
numbers as one without. Of tasks whose episodes last several steps, training and validation use the first observation.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wirelessgym.learned import LearnedAgent, seeded
from wirelessgym.task import Task
from wirelessgym.train.agents import configured_agent
from wirelessgym.train.card import training_card
from wirelessgym.train.config import Configuration, read_configuration, spelled
from wirelessgym.train.device import accelerator, moved, threads
from wirelessgym.train.draw import Batch, Drawer
from wirelessgym.train.folder import BEST, LAST, begin, check_folder, load_state, save_checkpoint, save_state
from wirelessgym.train.log import Log
from wirelessgym.train.schedule import learning_rate, step_seed, training_jobs, uses, validation_jobs
from wirelessgym.train.show import Show
from wirelessgym.train.stop import ctrl_c_noted
from wirelessgym.train.validation import NOT_FINITE, headline, mean_gain

MAX_SKIPPED_IN_A_ROW = 20


class DivergedError(ValueError):
    """Loss or gradient wasn't finite for many steps in a row."""


def train(
    config: str | Path | Mapping[str, Any] | Configuration,
    out: str | Path,
    resume: bool = False,
    progress: bool = True,
    *,
    overrides: Sequence[str] = (),
    agent: LearnedAgent | None = None,
) -> LearnedAgent:
    """Train an agent.

    Args:
        config: name of a configuration that comes with the agents, a TOML file, or its contents; see `Configuration`.
        out: folder of the run, see `wirelessgym.train.folder`.
        resume: whether to go on with the run that is there.
        progress: whether to show progress on stderr.
        overrides: ``key=value`` each, laid over the configuration, see `read_configuration`.
        agent: what to train, instead of the agent that the configuration names; from the weights that it has.

    Returns:
        The trained agent, with its weights on the device where they were built.

    Raises:
        UnknownIdError: for an unknown configuration, agent, task or scenario.
        ConfigurationError: for a wrong key or value, or a run in ``out`` with another configuration.
        CheckpointError: for a checkpoint, or a run to go on with, of other base weights than the agent's.
        ScenarioError: for a task's override that doesn't exist or is out of range.
        TypeError: for an agent that isn't a `LearnedAgent`, or a wrong option of it.
        ValueError: for an agent that doesn't do a task, or whose loss has no gradient.
        FileExistsError: if ``out`` holds a run and ``resume`` is False.
        FileNotFoundError: if it holds none and ``resume`` is True.
        ImportError: without the packages of ``wirelessgym[train]``.
        DivergedError: after 20 steps in a row whose loss or gradient wasn't finite.
        KeyboardInterrupt: after Ctrl-C, once the step is complete and saved.
    """
    folder = Path(out)
    name = None if agent is None else f"{type(agent).__module__}:{type(agent).__qualname__}"
    configuration = read_configuration(config, overrides, name)
    if agent is not None:
        configuration = configuration.model_copy(update={"agent_options": spelled({**agent.options(), "seed": agent.seed})})
    check_folder(folder, configuration, resume)
    tasks = {label: entry.make() for label, entry in zip(configuration.labels, configuration.tasks, strict=True)}
    agent = agent or configured_agent(configuration)
    for task in tasks.values():
        if not agent.does(task.family):
            raise ValueError(f"agent {agent.name!r} doesn't do {task.id}; it does: {', '.join(agent.tasks)}")
    with ExitStack() as stack:
        stack.enter_context(threads(configuration.threads))
        stack.enter_context(torch.random.fork_rng())
        device = stack.enter_context(accelerator(configuration.precision))
        drawer = stack.enter_context(Drawer(list(tasks.values()), configuration.draw_ahead))
        run = _Run(configuration, tasks, agent, folder, device, drawer)
        run.play(stack.enter_context(Show(progress, agent.name, run.done.step, configuration.steps)))
    return agent


class _Run:
    """A run, from its start or its last checkpoint to its end or a break."""

    def __init__(
        self, config: Configuration, tasks: Mapping[str, Task], agent: LearnedAgent, folder: Path, device: Any, drawer: Drawer
    ) -> None:
        self.config, self.tasks, self.agent, self.folder = config, tasks, agent, folder
        self.accelerator, self.drawer, self.labels = device, drawer, list(tasks)
        self.device: torch.device = device.device
        self.modules = list({id(module): module for module in (agent.weights(task.spec) for task in tasks.values())}.values())
        self.homes = [next((p.device for p in module.parameters()), self.device) for module in self.modules]
        for module in self.modules:
            module.to(self.device).train()
        self.parameters = _trainable(agent, self.modules)
        self.optimiser = _optimiser(self.parameters, config)
        begin(folder, config)
        self.done = load_state(folder, agent, self.parameters, self.optimiser)
        used = uses(config, self.done.step)
        self.episodes = sum(count * entry.batch for count, entry in zip(used, config.tasks, strict=True))
        self.begun = time.monotonic() - self.done.seconds
        self.held_out: dict[str, list[Batch]] = {}

    def play(self, show: Show) -> None:
        """Train to the last step; raises KeyboardInterrupt after Ctrl-C."""
        config, done = self.config, self.done
        with Log(self.folder, done.step) as log, ctrl_c_noted() as interrupted:
            for job, batch in self.drawer.batches(validation_jobs(config)):
                self.held_out.setdefault(self.labels[job.entry], []).append(batch)
            if done.step == 0:
                self._validate(log, show)
            for job, batch in self.drawer.batches(training_jobs(config, done.step)):
                self._step(job.entry, batch, log, show)
                last, stop = done.step == config.steps, interrupted()
                if last or done.step % config.validate_every == 0:
                    self._validate(log, show)
                if last or stop or done.step % config.checkpoint_every == 0:
                    self._save()
                if stop and not last:
                    show.close()
                    print(
                        f"interrupted: {done.step} of {config.steps} steps are done and saved; the same call with "
                        f"--out {self.folder} --resume (in Python: out and resume=True) goes on from here",
                        file=sys.stderr,
                    )
                    raise KeyboardInterrupt
        if config.keep == "best":
            self.agent.load(self.folder / BEST)
        for module, home in zip(self.modules, self.homes, strict=True):
            module.to(home).eval()

    def _step(self, entry: int, batch: Batch, log: Log, show: Show) -> None:
        done, label = self.done, self.labels[entry]
        rate = learning_rate(self.config, done.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        with seeded(step_seed(self.config.seed, done.step, "loss")):
            loss, norm = self._gradient(entry, batch)
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimiser.step()
            done.skipped_in_a_row = 0
        else:
            done.skipped += 1
            done.skipped_in_a_row += 1
        done.step += 1
        done.seconds = time.monotonic() - self.begun
        self.episodes += self.config.tasks[entry].batch
        log.step(done.step, done.seconds, label, loss, rate, norm, self.episodes)
        show.step(done.step, label, loss)
        if done.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise DivergedError(
                f"step {done.step}, {label}: expected a finite loss and gradient, got loss {loss} and gradient norm {norm}, for "
                f"{MAX_SKIPPED_IN_A_ROW} steps in a row; see {self.folder / 'log.csv'}, a smaller learning_rate may help"
            )

    def _gradient(self, entry: int, batch: Batch) -> tuple[float, float]:
        """Loss, and norm of the gradient before clipping."""
        task = self.tasks[self.labels[entry]]
        state, obs = moved(batch[0], self.device), moved(batch[1], self.device)
        try:
            with self.accelerator.autocast():
                loss = self.agent.loss(task, state, obs, self.done.step / self.config.steps)
        except ValueError as error:
            if NOT_FINITE not in str(error):
                raise
            return math.nan, math.nan  # tasks refuse such actions
        if not loss.requires_grad:
            raise ValueError(f"agent {self.agent.name!r}: its loss on {task.id} has no gradient to its weights")
        self.accelerator.backward(loss * self.config.tasks[entry].loss_scale)
        norm = self.accelerator.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        return loss.item(), norm.item()

    def _validate(self, log: Log, show: Show) -> None:
        done = self.done
        with seeded(step_seed(self.config.seed, done.step, "validation")):
            done.validation = {
                label: headline(self.tasks[label], self.agent, batches, self.device) for label, batches in self.held_out.items()
            }
        done.seconds = time.monotonic() - self.begun
        done.first_validation = done.validation | {k: v for k, v in done.first_validation.items() if math.isfinite(v)}
        for label, value in done.validation.items():
            log.validation(done.step, done.seconds, label, self.tasks[label].headline.name, value, self.episodes)
        if done.validation:
            show.validation(done.step, done.seconds, self.tasks, done.validation)
        if self.config.keep == "best":
            gain = mean_gain(self.tasks, done.first_validation, done.validation)
            if done.best_gain is None or gain > done.best_gain:
                done.best_gain = gain
                save_checkpoint(self.agent, self.folder / BEST, self._card())

    def _save(self) -> None:
        self.done.seconds = time.monotonic() - self.begun
        save_checkpoint(self.agent, self.folder / LAST, self._card())
        save_state(self.folder, self.done, self.agent, self.parameters, self.optimiser)

    def _card(self) -> dict[str, Any]:
        return training_card(self.config, self.tasks, self.agent, self.done, self.device)


def _trainable(agent: LearnedAgent, modules: Sequence[torch.nn.Module]) -> list[torch.nn.Parameter]:
    found = list({id(p): p for module in modules for p in module.parameters() if p.requires_grad}.values())
    if not found:
        raise ValueError(f"agent {agent.name!r} has no trainable weights")
    return found


def _optimiser(parameters: Sequence[Tensor], config: Configuration) -> torch.optim.Optimizer:
    """AdamW; biases, norms and other vectors don't decay."""
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate)
