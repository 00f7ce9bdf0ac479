"""Learned agents: agents with weights, which ``wirelessgym train`` trains.

A subclass says which weights a task needs (`LearnedAgent.build`) and how they make an action: `LearnedAgent.forward` for actions
that gradients pass through, `LearnedAgent.policy` for choices among finitely many. Everything else (losses, evaluation mode,
checkpoints) is the same for all of them and is defined here.
"""

from __future__ import annotations

import importlib.util
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from wirelessgym.agent import Agent, Training
from wirelessgym.checkpoint import CheckpointError, load_weights, read_card, refuse_oversized, save_weights, tensors_digest
from wirelessgym.fields import Action, Obs, num_rows
from wirelessgym.policy_gradient import Logits, PolicyGradient, is_discrete, most_likely, pathwise_loss, score_function_loss
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import one_subcarrier
from wirelessgym.task import Task

SHIPPED = "shipped"

# Training draws its episodes with seeds from here on, validation from the half above; comparisons refuse them all.
FIRST_TRAINING_SEED = 2**61
FIRST_VALIDATION_SEED = 2**62


@dataclass(eq=False, kw_only=True)
class LearnedAgent(Agent):
    """An agent with weights.

    Attributes:
        checkpoint: folder that `save` wrote; ``"shipped"`` for the weights that come with the package; None for fresh ones.
        seed: of fresh weights.
        label: name in tables and records; by default the agent's id. It tells two checkpoints of one agent apart.
    """

    checkpoint: str | Path | None = None
    seed: int = 0
    label: str | None = None

    only_when_named: ClassVar[bool] = True  # fresh weights act at random, so excluded from default comparisons
    training: ClassVar[Training] = "network"

    def __post_init__(self) -> None:
        """Take the options of the checkpoint, where there is one, for those that were left at their default."""
        self._weights: torch.nn.Module | None = None
        if self.checkpoint is not None:
            self.checkpoint = str(Path(self.checkpoint).expanduser())
            trained = read_card(self.checkpoint_folder()).get("options", {})
            for option in (f for f in fields(self) if f.name in trained and getattr(self, f.name) == f.default):
                setattr(self, option.name, trained[option.name])

    @abstractmethod
    def build(self, task: TaskSpec) -> torch.nn.Module:
        """Return fresh weights for a task's sizes (of one subcarrier, where it has an axis of several).

        Called once; torch's global generator is seeded by ``seed`` meanwhile.
        """

    def forward(self, task: TaskSpec, obs: Obs) -> Action:
        """Return actions as `act` does, with gradients to the weights of `weights`; by default the likeliest of the `policy`."""
        return most_likely(task, self.policy(task, obs))

    def policy(self, task: TaskSpec, obs: Obs) -> Logits:
        """Return the logits of a policy over discrete actions, for tasks that are trained by the score function.

        Args:
            task: the task as agents see it.
            obs: an observation, batch axis first.

        Returns:
            For each action field of dtype int64 with bounds ``low`` and ``high`` and shape ``shape``, a tensor of shape
            (batch, *shape, high - low + 1), float32: unnormalised logarithms of probabilities, those of ``low`` first (a bool
            field has two: False, True). A dict by name where actions have several fields, otherwise that tensor.

        An agent with weights and this method is complete: `act` takes the likeliest action, training samples. A minimal one::

            class Small(LearnedAgent):
                def build(self, task):
                    return torch.nn.Linear(1, int(task.action_fields[0].high) + 1)  # low is 0

                def policy(self, task, obs):
                    return self.weights(task)(obs["cqi"].float()[:, None] / 15)

        Agents with memory keep it between calls and clear it in `reset`, which training calls before every trajectory with the
        number of rows that follow.
        """
        raise NotImplementedError(
            f"{self.name}: {task.id} needs a `policy` (logits over discrete actions) or a `forward` (an action); it has neither"
        )

    def loss(self, task: Task, state: Any, obs: Obs, progress: float = 1.0) -> Tensor:
        """Return the scalar that training minimises: by default the negative mean reward.

        Args:
            task: the task.
            state: of the episodes; only losses may read it.
            obs: what the agent sees at that state.
            progress: share of the training that is done, 0 to 1, for losses with phases.
        """
        return negative_reward(task, state, self.forward(task.spec, obs))

    def trajectory_loss(
        self,
        task: Task,
        state: Any,
        obs: Obs,
        generator: torch.Generator,
        progress: float = 1.0,
        settings: PolicyGradient | None = None,
    ) -> Tensor:
        """Return the scalar that training minimises on tasks whose actions have consequences (``task.open_loop`` is False).

        By default the negative mean reward over whole episodes: by the score function of `policy` where all action fields are
        discrete, see `score_function_loss`, otherwise through the task's differentiable ``step`` and `forward`.

        Args:
            task: the task, which is played to its horizon.
            state: of the episodes' first step.
            obs: what the agent sees at that state.
            generator: what actions are sampled with; the only randomness beside that of the layers.
            progress: share of the training that is done, 0 to 1.
            settings: of the score function.

        Raises:
            ValueError: for a task that is neither discrete nor differentiable.
        """
        settings = settings or PolicyGradient()
        if is_discrete(task.spec):
            self.reset(num_rows(state) * settings.samples_per_episode)
            return score_function_loss(task, lambda seen: self.policy(task.spec, seen), state, obs, generator, settings)
        if not task.differentiable:
            raise ValueError(
                f"{self.name}: {task.id} is not differentiable and its actions are not discrete: there is no gradient to follow; "
                "write a trajectory_loss of the agent's own"
            )
        self.reset(num_rows(state))
        return pathwise_loss(task, lambda seen: self.forward(task.spec, seen), state, obs)

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return actions without gradients, in evaluation mode."""
        module = self.weights(task)
        training = module.training
        # Setting the mode of all parts takes as long as some of them do.
        if any(part.training for part in module.modules()):
            module.eval()
        with torch.no_grad():
            action = self.forward(task, obs)
        if training:
            module.train()
        return action

    @property
    def trained_as(self) -> Training | None:
        """See `Agent.trained_as`: ``"none"`` as long as there are neither a checkpoint nor weights in memory."""
        return "none" if self.checkpoint is None and self._weights is None else self.training

    def weights(self, task: TaskSpec) -> torch.nn.Module:
        """Return the weights, built for ``task`` at first use, from the checkpoint if there is one, then in evaluation mode.

        Raises:
            FileNotFoundError: for a checkpoint that isn't there.
            CheckpointError: for one that is damaged, or whose weights are of other sizes.
        """
        if self._weights is None:
            if self.checkpoint is not None:
                folder = self.checkpoint_folder()
                refuse_oversized(folder, load_weights(folder), self.options())
            with seeded(self.seed):
                self._weights = self.build(one_subcarrier(task))
            if self.checkpoint is not None:
                try:
                    self.load(self.checkpoint_folder())
                except BaseException:
                    self._weights = None  # a refused checkpoint leaves no fresh weights behind
                    raise
                self._weights.eval()
        return self._weights

    def checkpoint_folder(self) -> Path:
        """Where the checkpoint lies.

        Raises:
            FileNotFoundError: if none is shipped with this agent.
        """
        if self.checkpoint != SHIPPED:
            return Path(str(self.checkpoint))
        folder = _home() / "checkpoints" / self._id
        if not folder.is_dir():
            raise FileNotFoundError(f"{self._id}: no checkpoint is shipped with it; train one, or leave the checkpoint out")
        return folder

    def saved_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds: all weights and buffers, unless a subclass leaves out those that come from elsewhere."""
        return {} if self._weights is None else dict(self._weights.state_dict())

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put `saved_tensors` of another agent with the same options into this one."""
        if self._weights is None:
            raise ValueError(f"{self.name}: weights are loaded into built ones; call weights(task) first")
        refuse_misfit(self.name, self._weights, tensors)
        self._weights.load_state_dict(dict(tensors))

    def save(self, folder: str | Path, card: Mapping[str, Any] | None = None) -> Path:
        """Write weights and a card (agent, options, and what ``card`` adds: training, seeds, records) to ``folder``."""
        own = {"agent": self._id, "options": self.options(), "trainable_parameters": self.num_parameters, **self.card()}
        return save_weights(self.saved_tensors(), {**own, **(card or {})}, Path(folder))

    def card(self) -> dict[str, Any]:
        """What a subclass adds to the card of its checkpoints, for `check_card` to look at."""
        return {}

    def check_card(self, card: Mapping[str, Any]) -> None:
        """Refuse a checkpoint that belongs to anything but this agent.

        Raises:
            CheckpointError: naming what differs.
        """

    def load(self, folder: str | Path) -> None:
        """Load weights that `save` wrote.

        Raises:
            FileNotFoundError: without the files.
            CheckpointError: if they are damaged, or of another agent or size.
            ValueError: before there are weights to load them into.
        """
        if self._weights is None:
            raise ValueError(f"{self.name}: weights are loaded into built ones; call weights(task) first, or give checkpoint=")
        card = read_card(Path(folder))
        if card.get("agent") != self._id:
            raise CheckpointError(f"{folder}: expected weights of {self._id!r}, got those of {card.get('agent')!r}")
        self.check_card(card)
        self.load_tensors(load_weights(Path(folder)))

    def options(self) -> dict[str, Any]:
        """Options that decide the weights' shapes and meaning, as JSON can hold them."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.name not in ("checkpoint", "seed", "label")}
        plain: dict[str, Any] = json.loads(json.dumps(own, default=str))
        return plain

    @property
    def name(self) -> str:
        """See `Agent.name`: the label, where there is one."""
        return self.label or self._id

    @property
    def _id(self) -> str:
        """The registry's id, whatever the label."""
        return super().name

    @property
    def num_parameters(self) -> int:
        """Trainable parameters: of the weights, or as the checkpoint's card says; 0 before fresh weights are built."""
        if self._weights is not None:
            return sum(p.numel() for p in self._weights.parameters() if p.requires_grad)
        if self.checkpoint is None:
            return 0
        said = read_card(folder := self.checkpoint_folder()).get("trainable_parameters")
        if not isinstance(said, int):
            raise CheckpointError(f"checkpoint: {folder}: expected trainable_parameters as an integer in the card, got {said!r}")
        return said

    @property
    def fingerprint(self) -> str:
        """Digest of the weights, as they are or as the checkpoint has them."""
        if self._weights is None and self.checkpoint is None:
            return ""
        return tensors_digest(load_weights(self.checkpoint_folder()) if self._weights is None else self.saved_tensors())


def negative_reward(task: Task, state: Any, action: Action) -> Tensor:
    """Negative mean reward of an action over the batch, a scalar that keeps gradients."""
    headline = task.score(state, action)[task.headline.name]
    return -headline.mean() if task.headline.higher_is_better else headline.mean()


def refuse_misfit(who: str, module: torch.nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that aren't the module's, before any of them is loaded.

    Raises:
        CheckpointError: naming the first that differs in name or shape.
    """
    wanted = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if differing := sorted(key for key in wanted | found if wanted.get(key) != found.get(key)):
        key, *others = differing
        more = f", and {len(others)} more" if others else ""
        expected, got = wanted.get(key, "nothing"), found.get(key, "nothing")
        raise CheckpointError(f"{who}: the checkpoint's weights don't fit: {key}: expected {expected}, got {got}{more}")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let layers that draw from torch's global generator start from ``seed``, and put its state back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _home() -> Path:
    """The folder of the agents' package: shipped checkpoints lie beside the agents."""
    spec = importlib.util.find_spec("wirelessgym.agents")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("wirelessgym.agents is not installed, so no checkpoint is shipped")
    return Path(next(iter(spec.submodule_search_locations)))
