"""Doors to TensorFlow (extra ``tensorflow``): shared tensors, observations as ``tf.data``, Keras models as agents.

The simulator itself runs on PyTorch and never imports TensorFlow; gradients don't cross from one to the other.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cloudpickle
import numpy as np
import torch
from torch import Tensor

from wirelessgym.agent import Agent, Training
from wirelessgym.fields import Action, Field, Obs, to_complex, to_real
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

try:
    import tensorflow as tf
except ImportError as error:
    raise ImportError("wirelessgym.tensorflow needs TensorFlow: pip install 'wirelessgym[tensorflow]'") from error


def to_tensorflow(value: Tensor) -> Any:
    """Return a torch tensor as a TensorFlow tensor on the same memory (DLPack), detached from the graph.

    Tensors that aren't contiguous, or are conjugated lazily, are copied: TensorFlow takes neither.
    """
    return tf.experimental.dlpack.from_dlpack(_plain(value).__dlpack__())


def from_tensorflow(value: Any) -> Tensor:
    """Return a TensorFlow tensor as a torch tensor on the same memory (DLPack)."""
    tensor: Tensor = torch.utils.dlpack.from_dlpack(tf.convert_to_tensor(value))
    return tensor


def as_dataset(task: Task, episodes: Sequence[int], seed: int = 0, batch: int = 256) -> Any:
    """Return the first observations of episodes as a ``tf.data.Dataset`` of batches; drawn anew at every iteration.

    Args:
        task: draws the episodes.
        episodes: numbers of the episodes, in order.
        seed: of all episodes.
        batch: episodes to a batch; the last one may be smaller.

    Returns:
        Dicts of tensors, batch axis first; complex entries stay complex64.

    Raises:
        ValueError: for no episodes or a batch below 1.
    """
    if batch < 1 or len(episodes) == 0:
        raise ValueError(f"expected at least one episode and a batch of at least 1, got {len(episodes)} and {batch}")

    def batches() -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        for start in range(0, len(episodes), batch):
            with torch.no_grad():
                _, obs = task.reset(episodes[start : start + batch], seed=seed)
            yield {key: _plain(value).numpy() if isinstance(value, Tensor) else np.array(value) for key, value in obs.items()}

    signature = {
        field.name: tf.TensorSpec((None, *field.shape), _tensorflow_dtype(field), name=field.name)
        for field in task.observation_fields
    }
    return tf.data.Dataset.from_generator(batches, output_signature=signature)


def _tensorflow_dtype(field: Field) -> Any:
    return tf.string if field.dtype == "text" else getattr(tf, field.dtype)


def keras_agent(model: Any, inputs: Sequence[str] | None = None) -> Agent:
    """Return a Keras model as an agent.

    The model is called with Gymnasium's view of a batch: a dict of tensors in which complex entries are float32 with a
    trailing (re, im) axis. It answers in the same form: one tensor, or a dict of them for several action fields.

    Args:
        model: any Keras model with TensorFlow as backend. A class of your own needs
            ``keras.saving.register_keras_serializable`` to be copied for a comparison.
        inputs: the entries that the model takes, by default all; functional models take no others than they name.
    """
    return KerasAgent(model, None if inputs is None else tuple(inputs))


@dataclass
class KerasAgent(Agent):
    """Wraps a Keras model; see `keras_agent`."""

    model: Any
    inputs: tuple[str, ...] | None = None
    training: ClassVar[Training] = "network"

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Run the model in inference mode."""
        seen = {key: _as_tensorflow(obs[key]) for key in self.inputs or obs}
        answer = self.model(seen, training=False)
        fields = task.action_fields
        if len(fields) == 1 and not isinstance(answer, dict):
            return to_complex(from_tensorflow(answer), fields[0])
        return {field.name: to_complex(from_tensorflow(answer[field.name]), field) for field in fields}

    def __getstate__(self) -> dict[str, Any]:
        """Keras finds a model's class by its name, which another process may not know: the class goes along."""
        kind = type(self.model)
        return {
            "names": (kind.__name__, tf.keras.utils.get_registered_name(kind)),
            "kind": kind,
            "model": cloudpickle.dumps(self.model),
            "inputs": self.inputs,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        with tf.keras.utils.custom_object_scope(dict.fromkeys(state["names"], state["kind"])):
            self.model = pickle.loads(state["model"])
        self.inputs = state["inputs"]

    @property
    def name(self) -> str:
        """The model's own name."""
        return str(self.model.name)

    @property
    def num_parameters(self) -> int:
        """Trainable weights of the model."""
        return sum(int(np.prod(weight.shape)) for weight in self.model.trainable_weights)


def _as_tensorflow(value: Any) -> Any:
    return to_tensorflow(to_real(value)) if isinstance(value, Tensor) else tf.constant(value)


def _plain(value: Tensor) -> Tensor:
    return value.detach().resolve_conj().resolve_neg().contiguous()
