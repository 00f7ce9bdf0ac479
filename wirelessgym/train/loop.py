"""The training loop: sample episodes, act, follow the gradient; validate, log, keep.

A run is a pure function of its configuration on a given machine. The task, the episodes, the learning rate and the random numbers
(dropout, sampled actions) of a step depend on the seed and the number of the step only, so a run that continues after a break
gives the same numbers as one without. Open-loop tasks are trained and validated on the first observation of each episode, as no
action changes what follows; all others on whole trajectories, see `LearnedAgent.trajectory_loss`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wirelessgym.channel.randomness import generator
from wirelessgym.fields import Action, Obs, clone, num_rows, to
from wirelessgym.fitted import FittedAgent
from wirelessgym.interrupts import interrupts_noted
from wirelessgym.learned import LearnedAgent, seeded
from wirelessgym.parallel import threads
from wirelessgym.progress import ProgressBar
from wirelessgym.rollouts import Rollout, Transition, headline, measured
from wirelessgym.task import Task
from wirelessgym.train.config import Configuration, read_configuration, spelled
from wirelessgym.train.fitting import fit
from wirelessgym.train.run_folder import BEST, Log, begin, check_folder, load_state, save_best, save_state, training_card
from wirelessgym.train.sampling import Batch, Drawer, step_seed, training_jobs, uses, validation_jobs

MAX_SKIPPED_IN_A_ROW = 20
NOT_FINITE = "NaN or infinite"  # how `Field.check` names what it refuses


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
    """Train an agent, or fit it if it is a `FittedAgent`.

    Args:
        config: name of a configuration that comes with the agents, a TOML file, or its contents; see `Configuration`.
        out: folder of the run, see `wirelessgym.train.run_folder`.
        resume: whether to continue the run that is there.
        progress: whether to show progress on stderr.
        overrides: ``key=value`` each, laid over the configuration, see `read_configuration`.
        agent: what to train, instead of the agent that the configuration names; from the weights that it has.

    Returns:
        The trained agent, with its weights on the device where they were built.

    Raises:
        UnknownIdError: for an unknown configuration, agent, task or scenario.
        ConfigurationError: for a wrong key or value, or a run in ``out`` with another configuration.
        CheckpointError: for a checkpoint, or a run to continue, of other base weights than the agent's.
        ScenarioError: for a task's override that doesn't exist or is out of range.
        TypeError: for an agent that isn't a `LearnedAgent`, or a wrong option of it.
        ValueError: for an agent that doesn't do a task, or whose loss has no gradient.
        FileExistsError: if ``out`` holds a run and ``resume`` is False.
        FileNotFoundError: if it holds none and ``resume`` is True.
        ImportError: without the packages of ``wirelessgym[train]``.
        DivergedError: after 20 steps in a row whose loss or gradient wasn't finite.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once the step is complete and saved.
    """
    folder = Path(out)
    name = None if agent is None else f"{type(agent).__module__}:{type(agent).__qualname__}"
    configuration = read_configuration(config, overrides, name)
    if agent is not None:
        configuration = configuration.model_copy(update={"agent_options": spelled({**agent.options(), "seed": agent.seed})})
    check_folder(folder, configuration, resume)
    tasks = {label: entry.make() for label, entry in zip(configuration.labels, configuration.tasks, strict=True)}
    agent = agent or configuration.make_agent()
    for task in tasks.values():
        if not agent.does(task.family):
            raise ValueError(f"agent {agent.name!r} doesn't do {task.id}; it does: {', '.join(agent.tasks)}")
    with ExitStack() as stack:
        stack.enter_context(threads(configuration.threads))
        stack.enter_context(torch.random.fork_rng())
        device = stack.enter_context(_accelerator(configuration.precision))
        drawer = stack.enter_context(Drawer(list(tasks.values()), configuration.draw_ahead))
        if isinstance(agent, FittedAgent):
            bar = stack.enter_context(ProgressBar(progress, agent.name, 0, configuration.steps))
            fit(configuration, tasks, agent, folder, drawer, bar)
            return agent
        run = _Run(configuration, tasks, agent, folder, device, drawer)
        run.train(stack.enter_context(ProgressBar(progress, agent.name, run.state.step, configuration.steps)))
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
        trainable = {id(p): p for module in self.modules for p in module.parameters() if p.requires_grad}
        self.parameters = list(trainable.values())
        if not self.parameters:
            raise ValueError(f"agent {agent.name!r} has no trainable weights")
        self.optimiser = make_optimiser(self.parameters, config)
        begin(folder, config)
        self.state = load_state(folder, agent, self.parameters, self.optimiser)
        used = uses(config, self.state.step)
        self.episodes = sum(count * entry.batch for count, entry in zip(used, config.tasks, strict=True))
        self.begun = time.monotonic() - self.state.seconds
        self.held_out: dict[str, list[Batch]] = {}

    def train(self, bar: ProgressBar) -> None:
        """Train to the last step; raises KeyboardInterrupt after Ctrl-C or SIGTERM."""
        config, state = self.config, self.state
        with Log(self.folder, state.step) as log, interrupts_noted() as interrupted:
            for job, batch in self.drawer.batches(validation_jobs(config)):
                self.held_out.setdefault(self.labels[job.entry], []).append(batch)
            if state.step == 0:
                self._validate(log, bar)
            for job, batch in self.drawer.batches(training_jobs(config, state.step)):
                self._step(job.entry, batch, log, bar)
                last, stop = state.step == config.steps, interrupted()
                if last or state.step % config.validate_every == 0:
                    self._validate(log, bar)
                if last or stop or state.step % config.checkpoint_every == 0:
                    self._save()
                if stop and not last:
                    bar.close()
                    print(
                        f"interrupted: {state.step} of {config.steps} steps are done and saved; the same call with "
                        f"--out {self.folder} --resume (in Python: out and resume=True) continues from here",
                        file=sys.stderr,
                    )
                    raise KeyboardInterrupt
        if config.keep == "best":
            self.agent.load(self.folder / BEST)
        for module, home in zip(self.modules, self.homes, strict=True):
            module.to(home).eval()

    def _step(self, entry: int, batch: Batch, log: Log, bar: ProgressBar) -> None:
        state, label = self.state, self.labels[entry]
        rate = self.config.learning_rate_at(state.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        with seeded(step_seed(self.config.seed, state.step, "loss")):
            loss, norm = self._gradient(entry, batch)
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimiser.step()
            state.skipped_in_a_row = 0
        else:
            state.skipped += 1
            state.skipped_in_a_row += 1
        state.step += 1
        state.seconds = time.monotonic() - self.begun
        self.episodes += self.config.tasks[entry].batch
        log.step(state.step, state.seconds, label, loss, rate, norm, self.episodes)
        bar.step(state.step, f"{label} loss {loss:.4g}")
        if state.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise DivergedError(
                f"step {state.step}, {label}: expected a finite loss and gradient, got loss {loss} and gradient norm {norm}, for "
                f"{MAX_SKIPPED_IN_A_ROW} steps in a row; see {self.folder / 'log.csv'}, a smaller learning_rate may help"
            )

    def _gradient(self, entry: int, batch: Batch) -> tuple[float, float]:
        """Loss, and norm of the gradient before clipping."""
        task = self.tasks[self.labels[entry]]
        state, obs = to(batch[0], self.device), to(batch[1], self.device)
        share = self.state.step / self.config.steps
        try:
            with self.accelerator.autocast():
                if task.open_loop:
                    loss = self.agent.loss(task, state, obs, share)
                else:
                    draws = generator(self.config.seed, self.state.step, "actions")
                    loss = self.agent.trajectory_loss(task, state, obs, draws, share, self.config.policy_gradient)
        except ValueError as error:
            if NOT_FINITE not in str(error):
                raise
            return math.nan, math.nan  # tasks refuse such actions
        if not loss.requires_grad:
            raise ValueError(f"agent {self.agent.name!r}: its loss on {task.id} has no gradient to its weights")
        self.accelerator.backward(loss * self.config.tasks[entry].loss_scale)
        norm = self.accelerator.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        return loss.item(), norm.item()

    def _validate(self, log: Log, bar: ProgressBar) -> None:
        state = self.state
        with seeded(step_seed(self.config.seed, state.step, "validation")):
            state.validation = {label: self._headline(label, batches) for label, batches in self.held_out.items()}
        state.seconds = time.monotonic() - self.begun
        state.first_validation = state.validation | {k: v for k, v in state.first_validation.items() if math.isfinite(v)}
        for label, value in state.validation.items():
            log.validation(state.step, state.seconds, label, self.tasks[label].headline.name, value, self.episodes)
        if state.validation:
            values = ", ".join(_in_words(label, self.tasks[label], value) for label, value in state.validation.items())
            bar.say(f"step {state.step}, {state.seconds:.0f} s: {values}")
        if self.config.keep == "best":
            gain = state.mean_gain(self.tasks)
            if state.best_gain is None or gain > state.best_gain:
                state.best_gain = gain
                save_best(self.folder, self.agent, self._card())

    def _headline(self, label: str, batches: Sequence[Batch]) -> float:
        """How well the agent acts on episodes that training never sees; NaN where the task refuses its actions."""
        try:
            with torch.no_grad():
                return headline(self.tasks[label], [self._played(self.tasks[label], *batch) for batch in batches])
        except ValueError as error:
            if NOT_FINITE not in str(error):
                raise
            return math.nan

    def _played(self, task: Task, state: Any, obs: Obs) -> list[Transition]:
        self.agent.reset(num_rows(state))

        def act(_: object, seen: Obs) -> Action:
            return to(self.agent.act(task.spec, to(clone(seen), self.device)), "cpu")

        return (
            [measured(state, task.score(state, act(state, obs)))] if task.open_loop else list(Rollout(task, state, obs).play(act))
        )

    def _save(self) -> None:
        self.state.seconds = time.monotonic() - self.begun
        save_state(self.folder, self.state, self.agent, self._card(), self.parameters, self.optimiser)

    def _card(self) -> dict[str, Any]:
        return training_card(self.config, self.tasks, self.agent, self.state, self.device)


def make_optimiser(parameters: Sequence[Tensor], config: Configuration) -> torch.optim.Optimizer:
    """AdamW; biases, norms and other vectors don't decay."""
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate)


@contextmanager
def _accelerator(precision: str) -> Iterator[Any]:
    """An ``accelerate.Accelerator`` on the GPU if there is one, otherwise on the processor.

    Args:
        precision: ``"no"`` or ``"bf16"``.

    Raises:
        ImportError: without accelerate.
        ValueError: if several processes were launched: a run is one process.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError as error:
        raise ImportError(f"training needs accelerate: pip install 'wirelessgym[train]' ({error})") from None
    # accelerate keeps its settings for the life of the process, and refuses others: forget ours, but nobody else's.
    ours = not AcceleratorState._shared_state
    try:
        made = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=precision)
        if made.num_processes > 1:
            raise ValueError(f"training runs in one process, {made.num_processes} were launched")
        yield made
    finally:
        if ours:
            AcceleratorState._reset_state(reset_partial_state=True)


def _in_words(label: str, task: Task, value: float) -> str:
    unit = "" if task.headline.unit == "1" else f" {task.headline.unit}"
    return f"{label} {task.headline.name} {value:.4g}{unit}"
