"""Agents of one backbone and a head per task: what the universal agent and its rival without a language model share."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import zlib
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from wirelessgym.checkpoint import CheckpointError
from wirelessgym.fields import Action, Obs
from wirelessgym.learned import LearnedAgent, negative_reward, refuse_misfit, seeded
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import fold_subcarriers, one_subcarrier, over_subcarriers, unfold_subcarriers
from wirelessgym.task import Task

from . import default


def tasks_with_heads() -> tuple[str, ...]:
    """Ids of the tasks that have a file of their own in ``default/``."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(default.__path__) if not module.name.startswith("_")))


@dataclass(eq=False, kw_only=True)
class HeadedAgent(LearnedAgent):
    """Turns observations into tokens, lets a backbone add to them, and turns them into actions.

    Attributes:
        preset: ``"default"`` heads, or those of the ``"paper"``.
        device: where fresh weights are put; observations follow the weights to wherever they are moved.
    """

    preset: Literal["default", "paper"] = "default"
    device: str = "cpu"

    tasks = tasks_with_heads()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset not in ("default", "paper"):
            raise ValueError(f"preset: expected 'default' or 'paper', got {self.preset!r}")
        self._loaded: dict[str, Tensor] = {}

    def options(self) -> dict[str, Any]:
        """See `LearnedAgent.options`; weights move between devices, so a checkpoint doesn't say where it was trained."""
        return {key: value for key, value in super().options().items() if key != "device"}

    @abstractmethod
    def make_backbone(self) -> tuple[torch.nn.Module | None, int]:
        """Return the backbone, called with (words, tokens, ordered, mask), or None for none; and the width of its tokens."""

    def words(self, task: TaskSpec) -> str:
        """The instruction that the backbone reads; by default it reads none."""
        return ""

    def build(self, task: TaskSpec) -> torch.nn.Module:
        """Return the backbone, and room for the tasks' heads."""
        return Model(*self.make_backbone()).to(self.device)

    def weights(self, task: TaskSpec) -> torch.nn.Module:
        """See `LearnedAgent.weights`; a task's head is built when the task is first met."""
        return self._model(one_subcarrier(task))

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """See `LearnedAgent.act`. Beside a checkpoint's heads only training, by `weights` or `loss`, puts fresh ones.

        Raises:
            CheckpointError: for a task that the checkpoint has no head for.
        """
        model = super().weights(task)
        assert isinstance(model, Model)
        if self._loaded and task.id not in model.heads:
            self._require_head(task.id, self._loaded)
        return super().act(task, obs)

    @over_subcarriers
    def forward(self, task: TaskSpec, obs: Obs) -> Action:
        """Return actions as the task's fields have them, with gradients to backbone and heads."""
        return self._think(task, obs)[0]

    def loss(self, task: Task, state: Any, obs: Obs, progress: float = 1.0) -> Tensor:
        """Return the head's own loss where it has one, else the mean reward with its sign turned.

        A head sees its own observations again, in which subcarriers are rows, and the action with their axis.
        """
        spec, seen = fold_subcarriers(task.spec, obs)
        action, context = self._think(spec, seen)
        action = unfold_subcarriers(task.spec, action)
        model = self._model(spec)
        head: Any = model.heads[task.id]
        with self._precision(model, head):
            if hasattr(head, "loss"):
                own: Tensor = head.loss(task, state, seen, action, context, progress)
                return own
            return negative_reward(task, state, action)

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

    def _model(self, task: TaskSpec) -> Model:
        model = super().weights(task)
        assert isinstance(model, Model)
        if task.id not in model.heads:
            # Seeded by the task, so that heads don't depend on the order in which tasks are met.
            with seeded(zlib.crc32(f"{self.seed} {task.id}".encode())):
                head: torch.nn.Module = _head_class(self.preset, task)(task, model.width)
            if task.id in _heads(self._loaded):
                own = _below(f"heads.{task.id}.", self._loaded)
                refuse_misfit(f"{self.name}'s head for this {task.id} task", head, own)
                head.load_state_dict(own)
            model.heads[task.id] = head.to(self._device(model)).train(model.training)
        return model

    def _device(self, model: Model) -> torch.device:
        """Where the weights are: whoever trains may have moved them."""
        return next((parameter.device for parameter in model.parameters()), torch.device(self.device))

    def _precision(self, model: Model, head: Any) -> AbstractContextManager[Any]:
        """Where a run has mixed precision: that for heads that stand it, and full precision for the others."""
        kind = self._device(model).type
        mixed = getattr(head, "mixed_precision", False) or not torch.amp.is_autocast_available(kind)
        return nullcontext() if mixed else torch.autocast(kind, enabled=False)

    def _require_head(self, task: str, tensors: Mapping[str, Tensor]) -> None:
        if task not in (there := _heads(tensors)):
            got = ", ".join(sorted(there)) or "no task"
            raise CheckpointError(
                f"{self.name}: expected a checkpoint with a head for {task}, got one for {got}; train it on {task} first"
            )

    def _think(self, task: TaskSpec, obs: Obs) -> tuple[Action, Any]:
        model = self._model(task)
        head: Any = model.heads[task.id]
        device = self._device(model)
        seen = {key: value.to(device) for key, value in obs.items()}
        with self._precision(model, head):
            tokens, mask, context = head.encode(task, seen)
        hidden = model(self.words(task), tokens, head.ordered, mask)
        with self._precision(model, head):
            action: Action = head.decode(task, seen, hidden.float(), context)
        home = next(iter(obs.values())).device
        if isinstance(action, dict):
            return {key: value.to(home) for key, value in action.items()}, context
        return action.to(home), context


class Model(torch.nn.Module):
    """A backbone and the heads of the tasks met so far."""

    def __init__(self, backbone: torch.nn.Module | None, width: int) -> None:
        super().__init__()
        self.backbone, self.width = backbone, width
        self.heads = torch.nn.ModuleDict()

    def forward(self, words: str, tokens: Tensor, ordered: bool, mask: Tensor | None) -> Tensor:
        """Return what the decoder reads: the tokens, shape (sequences, n, width), and what the backbone adds to them."""
        return tokens if self.backbone is None else tokens + self.backbone(words, tokens, ordered, mask)


def _heads(tensors: Mapping[str, Tensor]) -> set[str]:
    """Tasks that a checkpoint's tensors hold heads of."""
    return {key.split(".")[1] for key in tensors if key.startswith("heads.")}


def _below(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}


def _head_class(preset: str, task: TaskSpec) -> Any:
    name = f"{__package__}.{preset}.{task.id}"
    if importlib.util.find_spec(name) is None:
        raise ValueError(f"preset: {preset!r} has no head for {task.id!r}; it would stand in {preset}/{task.id}.py")
    return importlib.import_module(name).Head
