"""Agents of one backbone and a head per task: what the universal agent and its rival without a language model share."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from wirelessgym.checkpoint import CheckpointError
from wirelessgym.fields import Action, Obs, to
from wirelessgym.learned import LearnedAgent, refuse_misfit, seeded
from wirelessgym.policy_gradient import Logits, is_discrete, most_likely
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import fold_subcarriers, one_subcarrier, over_subcarriers, unfold_subcarriers
from wirelessgym.task import Task

from .heads import PRESETS, Head, foreign_tasks, head_class, head_id, known_tasks


@dataclass(eq=False, kw_only=True)
class HeadedAgent(LearnedAgent):
    """Turns observations into tokens, lets a backbone add to them, and turns them into actions.

    Attributes:
        preset: folder of the heads of this package's tasks: ``"classical_init"``, which start from a classical solution, or
            ``"paper"``.
        extra_heads: heads of further tasks, or in place of others: task id to a `Head`, or to its name as ``"module:class"``.
            They belong to a checkpoint, whose card names them. An installed package better adds its own by an entry point.
        device: where fresh weights are put; observations follow the weights to wherever they are moved.
    """

    preset: Literal["classical_init", "paper"] = "classical_init"
    extra_heads: Mapping[str, type[Head] | str] | None = None
    device: str = "cpu"

    tasks = known_tasks()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset not in PRESETS:
            raise ValueError(f"preset: expected {' or '.join(map(repr, PRESETS))}, got {self.preset!r}")
        self.tasks = tuple(sorted({*known_tasks(), *(self.extra_heads or {})}))  # type: ignore[misc]
        self._loaded: dict[str, Tensor] = {}
        self._head_ids: dict[tuple[str, ...], str] = {}  # to find one, the metadata of all installed packages are read

    def options(self) -> dict[str, Any]:
        """See `LearnedAgent.options`; weights move between devices, so a checkpoint doesn't say where it was trained."""
        named = {task: _name(head) for task, head in (self.extra_heads or {}).items()}
        return {key: value for key, value in super().options().items() if key != "device"} | {"extra_heads": named or None}

    @property
    def foreign_tasks(self) -> tuple[str, ...]:
        """Ids of the tasks on which code of another package acts: a head that an entry point or an option names."""
        given = (task for task, head in (self.extra_heads or {}).items() if not _name(head).startswith("wirelessgym."))
        return (*foreign_tasks(), *given)

    @abstractmethod
    def make_backbone(self) -> tuple[torch.nn.Module | None, int]:
        """Return the backbone, called with (instruction, tokens, ordered, mask, texts), or None; and the width of its tokens."""

    def instruction(self, task: TaskSpec) -> str:
        """The instruction that the backbone reads; by default it reads none."""
        return ""

    def build(self, task: TaskSpec) -> torch.nn.Module:
        """Return the backbone, and room for the tasks' heads."""
        return Model(*self.make_backbone()).to(self.device)

    def weights(self, task: TaskSpec) -> torch.nn.Module:
        """See `LearnedAgent.weights`; a task's head is built when the task is first met."""
        return self._model_and_head(one_subcarrier(task))[0]

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """See `LearnedAgent.act`. Only training, by `weights` or `loss`, adds fresh heads to those of a checkpoint.

        Raises:
            CheckpointError: for a task that the checkpoint has no head for.
        """
        model = super().weights(task)
        assert isinstance(model, Model)
        if self._loaded and (name := self._head_id(task)) not in model.heads:
            self._require_head(name, self._loaded)
        return super().act(task, obs)

    @over_subcarriers
    def forward(self, task: TaskSpec, obs: Obs) -> Action:
        """Return actions as the task's fields have them, with gradients to backbone and heads where actions are continuous."""
        decoded = self._decide(task, obs)[0]
        return most_likely(task, decoded) if is_discrete(task) else decoded

    def policy(self, task: TaskSpec, obs: Obs) -> Logits:
        """See `LearnedAgent.policy`: what the head of a task with discrete actions decodes."""
        return self._decide(task, obs)[0]

    def loss(self, task: Task, state: Any, obs: Obs, progress: float = 1.0) -> Tensor:
        """Return the loss of the task's head.

        A head sees its own observations again, in which subcarriers are rows, and the action with their axis.
        """
        spec, seen = fold_subcarriers(task.spec, obs)
        action, context = self._decide(spec, seen)
        action = unfold_subcarriers(task.spec, action)
        model, head = self._model_and_head(spec)
        with self._precision(model, head):
            return head.loss(task, state, seen, action, context, progress)

    def saved_tensors(self) -> dict[str, Tensor]:
        """All that is trained, heads of tasks that weren't met since loading included."""
        return {} if self._weights is None else {**self._loaded, **self._weights.state_dict()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """See `LearnedAgent.load_tensors`; tensors of tasks not met yet are kept for when they are."""
        if not isinstance(model := self._weights, Model):
            raise ValueError(f"{self.name}: weights are loaded into built ones; call weights(task) first")
        for task in model.heads:
            self._require_head(task, tensors)
        modules = {f"heads.{task}.": head for task, head in model.heads.items()}
        if model.backbone is not None:
            modules["backbone."] = model.backbone
        for start, module in modules.items():
            refuse_misfit(f"{self.name}, {start[:-1]}", module, _below(start, tensors))
        for start, module in modules.items():
            module.load_state_dict(_below(start, tensors))
        self._loaded = dict(tensors)

    def check_card(self, card: Mapping[str, Any]) -> None:
        """See `LearnedAgent.check_card`: refuses heads of another preset."""
        if (preset := card.get("options", {}).get("preset", self.preset)) != self.preset:
            raise CheckpointError(
                f"{self.name}: the checkpoint has heads of preset {preset!r}, got {self.preset!r}; "
                "checkpoint=None gives fresh weights"
            )

    def _head_id(self, task: TaskSpec) -> str:
        if task.family not in self._head_ids:
            self._head_ids[task.family] = head_id(task, self.extra_heads or {})
        return self._head_ids[task.family]

    def _model_and_head(self, task: TaskSpec) -> tuple[Model, Head]:
        model, name = super().weights(task), self._head_id(task)
        assert isinstance(model, Model)
        if name not in model.heads:
            # Seeded by the task, so that heads don't depend on the order in which tasks are met.
            with seeded(zlib.crc32(f"{self.seed} {name}".encode())):
                fresh = head_class(name, self.preset, self.extra_heads or {})(task, model.width)
            if name in _heads(self._loaded):
                own = _below(f"heads.{name}.", self._loaded)
                refuse_misfit(f"{self.name}'s head for this {name} task", fresh, own)
                fresh.load_state_dict(own)
            model.heads[name] = fresh.to(self._device(model)).train(model.training)
        head = model.heads[name]
        assert isinstance(head, Head)
        return model, head

    def _device(self, model: Model) -> torch.device:
        """Where the weights are: training may have moved them."""
        return next((parameter.device for parameter in model.parameters()), torch.device(self.device))

    def _precision(self, model: Model, head: Head) -> AbstractContextManager[Any]:
        """In a run with mixed precision: that for heads that support it, and full precision for the others."""
        kind = self._device(model).type
        mixed = head.mixed_precision or not torch.amp.is_autocast_available(kind)
        return nullcontext() if mixed else torch.autocast(kind, enabled=False)

    def _require_head(self, task: str, tensors: Mapping[str, Tensor]) -> None:
        if task not in (known := _heads(tensors)):
            got = ", ".join(sorted(known)) or "no task"
            raise CheckpointError(
                f"{self.name}: expected a checkpoint with a head for {task}, got one for {got}; train it on {task} first"
            )

    def _decide(self, task: TaskSpec, obs: Obs) -> tuple[Action, Any]:
        model, head = self._model_and_head(task)
        seen = to(obs, self._device(model))
        with self._precision(model, head):
            tokens, mask, context = head.encode(task, seen)
        hidden = model(self.instruction(task), tokens, head.ordered, mask, texts(task, obs))
        with self._precision(model, head):
            action: Action = head.decode(task, seen, hidden.float(), context)
        return to(action, _device_of(obs)), context


class Model(torch.nn.Module):
    """A backbone and the heads of the tasks met so far."""

    def __init__(self, backbone: torch.nn.Module | None, width: int) -> None:
        super().__init__()
        self.backbone, self.width = backbone, width
        self.heads = torch.nn.ModuleDict()

    def forward(
        self, instruction: str, tokens: Tensor, ordered: bool, mask: Tensor | None, texts: Sequence[str] | None = None
    ) -> Tensor:
        """Return what the decoder reads: the tokens, shape (sequences, n, width), plus what the backbone adds to them.

        ``texts`` holds one for each row of the batch; all sequences of a row get the row's.
        """
        if self.backbone is None:
            return tokens
        if texts is not None:
            each, left = divmod(len(tokens), len(texts))
            if left:
                raise ValueError(f"tokens: expected a multiple of {len(texts)} sequences, one text each, got {len(tokens)}")
            texts = [text for text in texts for _ in range(each)]
        return tokens + self.backbone(instruction, tokens, ordered, mask, texts)


def texts(task: TaskSpec, obs: Obs) -> list[str] | None:
    """What the observation says in words, one text per row: its text fields with a space between; None if it has none."""
    columns = [obs[field.name] for field in task.observation_fields if field.dtype == "text"]
    return [" ".join(row) for row in zip(*columns, strict=True)] if columns else None


def _heads(tensors: Mapping[str, Tensor]) -> set[str]:
    """Tasks that a checkpoint's tensors hold heads of."""
    return {key.split(".")[1] for key in tensors if key.startswith("heads.")}


def _below(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}


def _name(head: type[Head] | str) -> str:
    return head if isinstance(head, str) else f"{head.__module__}:{head.__qualname__}"


def _device_of(obs: Obs) -> torch.device:
    return next((value.device for value in obs.values() if isinstance(value, Tensor)), torch.device("cpu"))
