"""The configuration of a training run: validated, read from a TOML file."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from wirelessgym.agent_names import learned_class
from wirelessgym.io import read_toml
from wirelessgym.learned import LearnedAgent
from wirelessgym.options import accepts_none, refusal
from wirelessgym.policy_gradient import PolicyGradient
from wirelessgym.registry import UnknownIdError, build_agent, make_task, training_files
from wirelessgym.scenario import Scenario, parse_assignment
from wirelessgym.suggest import hint
from wirelessgym.task import Task

LARGEST_SEED = 2**61 - 1  # training and validation seeds have that much room each, see wirelessgym.learned
NONE = "none"  # how TOML, which has no such value, writes None


class ConfigurationError(ValueError):
    """A key of a training configuration that doesn't exist, or a value out of its range."""


def spelled(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as TOML can hold them: None as a word."""
    return {key: NONE if value is None else value for key, value in options.items()}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TaskEntry(_Strict):
    """One task to train on.

    Attributes:
        task: task id.
        scenario: scenario id or TOML file; by default the task's own.
        batch: episodes per step.
        weight: how often this entry is chosen, relative to the others (``task_choice = "random"``).
        loss_scale: factor of this entry's loss.
        validation_episodes: how many episodes validation plays; 0 for no validation.
        overrides: options of the task and fields of the scenario, as in `wirelessgym.make_task`; ``"none"`` stands for None
            where that is a field's default (``csi_snr_db = "none"``: perfect CSI).
    """

    task: str = Field(min_length=1)
    scenario: str | None = None
    batch: int = Field(default=64, ge=1, le=1_000_000)
    weight: float = Field(default=1.0, gt=0, le=1e6)
    loss_scale: float = Field(default=1.0, gt=0, le=1e6)
    validation_episodes: int = Field(default=128, ge=0, le=1_000_000)
    overrides: dict[str, Any] = {}

    @field_validator("overrides")
    @classmethod
    def _as_toml_has_it(cls, overrides: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted({"task", "scenario"} & set(overrides)):
            raise ValueError(f"{taken[0]!r} is a key of its own, beside overrides")
        plain: dict[str, Any] = json.loads(json.dumps(spelled(overrides)))
        return plain

    def make(self) -> Task:
        """Return the task.

        Raises:
            UnknownIdError: for an unknown task or scenario.
            ScenarioError: for an override that neither knows, or out of range.
        """
        fields = Scenario.model_fields
        optional = {key for key in self.overrides if key in fields and fields[key].default is None}
        given = {k: None if v == NONE and k in optional else v for k, v in self.overrides.items()}
        return make_task(self.task, self.scenario, **given)


class Configuration(_Strict):
    """A training run.

    Attributes:
        agent: registry id or ``module:name`` of a `LearnedAgent`.
        seed: of fresh weights, and of training and validation episodes (added to FIRST_TRAINING_SEED and FIRST_VALIDATION_SEED
            of `wirelessgym.learned`). Training further from a checkpoint needs another seed than its training had: the same one
            samples the same episodes again.
        steps: number of updates.
        validate_every: steps between validations, beside those before the first step and after the last.
        checkpoint_every: steps between checkpoints, beside that after the last step.
        learning_rate: the largest one, reached after the warm-up; it then falls to 0 along a cosine.
        warmup_steps: steps over which it rises linearly; at most half of all steps, however short the run.
        weight_decay: of AdamW, on weights with two or more axes.
        gradient_clip: largest Euclidean norm of a gradient; longer ones are scaled down to it.
        precision: ``"bf16"`` computes losses under bfloat16 autocast.
        threads: torch threads.
        samples_per_episode: how often a step plays each of its episodes, where the loss is the score function: tasks with
            discrete actions that have consequences. See `PolicyGradient`, as for the next two.
        entropy_bonus: weight of the policy's entropy in that loss, in units of the reward per nat.
        discount: weight of a reward one step later in that loss.
        draw_ahead: whether another process samples the next episodes while a step computes; changes no result.
        task_choice: which entry of ``tasks`` a step uses: one at random, by weight, or each in turn.
        keep: which weights the run returns: the last ones, or those of the best validation (by the mean over entries of the
            relative gain since the validation before the first step).
        agent_options: options of the agent; ``"none"`` stands for None where an option's type has it (``layers = "none"``).
        tasks: what to train on.
    """

    agent: str = Field(min_length=1)
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    steps: int = Field(default=2000, ge=1, le=1_000_000_000)
    validate_every: int = Field(default=200, ge=1, le=1_000_000_000)
    checkpoint_every: int = Field(default=200, ge=1, le=1_000_000_000)
    learning_rate: float = Field(default=7e-4, gt=0, le=10)
    warmup_steps: int = Field(default=100, ge=0, le=1_000_000_000)
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    gradient_clip: float = Field(default=1.0, gt=0, le=1e6)
    precision: Literal["no", "bf16"] = "no"
    threads: int = Field(default=1, ge=1, le=1024)
    samples_per_episode: int = Field(default=8, ge=2, le=10_000)
    entropy_bonus: float = Field(default=0.0, ge=0, le=1e6)
    discount: float = Field(default=1.0, gt=0, le=1)
    draw_ahead: bool = True
    task_choice: Literal["random", "round_robin"] = "random"
    keep: Literal["last", "best"] = "last"
    agent_options: dict[str, Any] = {}
    tasks: tuple[TaskEntry, ...] = Field(min_length=1)

    @field_validator("agent_options")
    @classmethod
    def _as_toml_has_them(cls, options: dict[str, Any]) -> dict[str, Any]:
        return spelled(options)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.task_choice == "round_robin" and any(entry.weight != 1 for entry in self.tasks):
            raise ValueError('weights of tasks count where task_choice is "random"; leave them out of a round robin')
        if self.keep == "best" and not any(entry.validation_episodes for entry in self.tasks):
            raise ValueError('keep = "best" needs validation_episodes above 0')
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each entry: its task, and from the second entry of a task on a number: ``precoding-2``."""
        seen: dict[str, int] = {}
        names = []
        for entry in self.tasks:
            seen[entry.task] = count = seen.get(entry.task, 0) + 1
            names.append(entry.task if count == 1 else f"{entry.task}-{count}")
        return tuple(names)

    @property
    def policy_gradient(self) -> PolicyGradient:
        """Settings of the score function."""
        return PolicyGradient(self.samples_per_episode, self.entropy_bonus, self.discount)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0: linear warm-up, then half a cosine that reaches 0 after the last step.

        Source of the cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, equation (5), with one period.
        """
        warmup = min(self.warmup_steps, self.steps // 2)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        share = (step - warmup) / (self.steps - warmup)
        return self.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def make_agent(self) -> LearnedAgent:
        """Return the agent, with fresh weights of the run's seed unless its options have another, or a checkpoint.

        A checkpoint brings its own seed, which base weights may need that it doesn't hold.

        Raises:
            UnknownIdError: for an unknown id.
            ImportError: for a module or a name in it that isn't there.
            TypeError: for an agent that can't be trained, or an option that it doesn't have.
        """
        cls = learned_class(self.agent)
        given = {k: None if v == NONE and accepts_none(cls, k) else v for k, v in self.agent_options.items()}
        fresh = {"seed": self.seed} if given.get("checkpoint") is None else {}
        made = build_agent(f"agent {self.agent!r}", cls, {"checkpoint": None, **fresh, **given})
        assert isinstance(made, LearnedAgent)
        return made

    def plain(self) -> dict[str, Any]:
        """Everything, as JSON and TOML can hold it."""
        return self.model_dump(mode="json", exclude_none=True)


def read_configuration(
    config: str | Path | Mapping[str, Any] | Configuration, overrides: Sequence[str] = (), agent: str | None = None
) -> Configuration:
    """Return a configuration.

    Args:
        config: name of one that comes with the agents, a TOML file (a path, or a string ending in ``.toml``), or its contents.
        overrides: ``key=value`` each, dotted where nested; entries of ``tasks`` by number, by task id, or all as ``*``:
            ``steps=50``, ``agent_options.layers=2``, ``tasks.0.batch=8``, ``tasks.*.overrides.num_users=4``.
        agent: replaces the agent's name, and makes it optional.

    Raises:
        UnknownIdError: for an unknown name.
        FileNotFoundError: for a path that isn't there.
        ConfigurationError: if the file is no TOML, or a key or value in it is wrong.
    """
    name, data = _contents(config)
    for text in overrides:
        key, value = parse_assignment(text)
        _assign(data, key, NONE if value is None else value, f"{key}={value}")
    if agent is not None:
        data["agent"] = agent
    try:
        return Configuration.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(f"configuration {name}: " + "; ".join(map(_complaint, error.errors()))) from None


def first_difference(one: Any, other: Any, key: str = "") -> str | None:
    """Dotted name of the first key whose values differ; None if none does."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        pairs = [(str(k), one.get(k), other.get(k)) for k in dict.fromkeys([*one, *other])]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return None if one == other else key
    found = (first_difference(a, b, f"{key}.{k}".lstrip(".")) for k, a, b in pairs)
    return next((difference for difference in found if difference is not None), None)


def _contents(config: str | Path | Mapping[str, Any] | Configuration) -> tuple[str, dict[str, Any]]:
    if isinstance(config, Configuration):
        return config.agent, config.plain()
    if isinstance(config, Mapping):
        return str(config.get("agent", "")) or "given", _copied(config)
    if isinstance(config, str) and not config.endswith(".toml"):
        files = training_files()
        if config not in files:
            said = hint(config, files, known_as="expected a path ending in .toml, or one of")
            raise UnknownIdError(f"no training configuration is called {config!r}; {said}")
        config = files[config]
    path = Path(config)
    try:
        return path.stem, read_toml(path)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"configuration {path.stem}: {path} is not valid TOML: {error}") from error


def _copied(value: Any) -> Any:
    """A copy in which an assignment reaches nobody else's dicts and lists."""
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list | tuple) else value


def _assign(data: Any, key: str, value: Any, text: str) -> None:
    head, _, rest = key.partition(".")
    if isinstance(data, list):
        numbers = [i for i, entry in enumerate(data) if head in ("*", str(i), entry.get("task"))]
        if not numbers:
            there = ", ".join(str(entry.get("task")) for entry in data)
            raise ConfigurationError(f"{text}: no entry of tasks is {head!r}; there are {there}, numbered from 0, and * for all")
        keys: list[Any] = numbers
    elif isinstance(data, dict):
        keys = [head]
        if rest:
            data.setdefault(head, {})
    else:
        raise ConfigurationError(f"{text}: {data!r} holds no {key!r}")
    for inner in keys:
        if rest:
            _assign(data[inner], rest, value, text)
        else:
            data[inner] = value


def _complaint(problem: Any) -> str:
    loc = [str(part) for part in problem["loc"]]
    key = ".".join(loc)
    owner = TaskEntry if loc[:1] == ["tasks"] and len(loc) > 2 else Configuration
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {hint(loc[-1], owner.model_fields, prefix=key[: -len(loc[-1])], known_as='known keys')}"
    if problem["type"] == "missing":
        return f"missing key {key!r}"
    if not key:  # about the configuration as a whole
        return refusal(problem, {})
    schema = owner.model_json_schema()["properties"].get(loc[-1], {})
    return f"{key}: {refusal(problem, schema)}, got {json.dumps(problem['input'], default=str)}"
