"""Checkpoints: a folder with weights (safetensors) and a card (JSON) that says whose they are and how they came to be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wirelessgym.io import sha256

WEIGHTS = "weights.safetensors"
CARD = "card.json"
SCHEMA = 1


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or belongs to another module."""


def save_weights(tensors: Mapping[str, Tensor], card: Mapping[str, Any], folder: Path) -> Path:
    """Write ``tensors`` and ``card`` (with schema, checksum and torch's version added) to ``folder``; return it."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
    full = {"schema": SCHEMA, **card, "torch": torch.__version__.partition("+")[0], "sha256": sha256(folder / WEIGHTS)}
    (folder / CARD).write_text(json.dumps(full, indent=2) + "\n", encoding="utf-8")
    return folder


def read_card(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's card.

    Raises:
        FileNotFoundError: without one.
        CheckpointError: if it is no card of this schema.
    """
    path = folder / CARD
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: {path} is missing; expected a folder with {WEIGHTS} and {CARD}")
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"checkpoint: {path} is not valid JSON: {error}") from None
    if card.get("schema") != SCHEMA:
        raise CheckpointError(f"checkpoint: {path}: expected schema {SCHEMA}, got {card.get('schema')!r}")
    return card


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Return a checkpoint's tensors. Nothing but tensors is read from the file.

    Raises:
        FileNotFoundError: without the files.
        CheckpointError: if the weights have changed since they were written.
    """
    from safetensors.torch import load_file

    expected, path = read_card(folder).get("sha256"), folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: {path} is missing; expected a folder with {WEIGHTS} and {CARD}")
    if (found := sha256(path)) != expected:
        raise CheckpointError(f"checkpoint: {path} is corrupt, expected SHA-256 {expected}, got {found}; copy or train it again")
    return load_file(path)


def save_checkpoint(module: torch.nn.Module, folder: str | Path) -> Path:
    """Write a torch module's weights to ``folder``, for modules that are no agents of this package; return the folder."""
    return save_weights(module.state_dict(), {"module": type(module).__name__}, Path(folder))


def load_checkpoint(module: torch.nn.Module, folder: str | Path) -> None:
    """Load weights that `save_checkpoint` wrote into ``module``, in place.

    Raises:
        FileNotFoundError: without the files.
        CheckpointError: if they have changed since they were written, or don't fit the module.
    """
    try:
        module.load_state_dict(load_weights(Path(folder)))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"checkpoint: {folder} holds weights of another module than {type(module).__name__}: {reason}"
        ) from None


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors' contents, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
