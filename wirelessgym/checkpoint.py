"""Checkpoints: a folder with weights (safetensors) and a card (JSON) that says whose they are and how they came to be."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wirelessgym.io import sha256, write_atomically, write_text_atomically

WEIGHTS = "weights.safetensors"
CARD = "card.json"
SCHEMA = 1


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or belongs to another module."""


def save_weights(tensors: Mapping[str, Tensor], card: Mapping[str, Any], folder: Path) -> Path:
    """Write ``tensors`` and ``card`` (with schema, checksum and torch's version added) to ``folder``; return it.

    Each file is written whole or not at all; `replace_folder` makes both change together.
    """
    from safetensors.torch import save

    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    with write_atomically(folder / WEIGHTS) as partial:
        partial.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    full = {"schema": SCHEMA, **card, "torch": torch.__version__.partition("+")[0], "sha256": digest}
    write_text_atomically(folder / CARD, json.dumps(full, indent=2) + "\n")
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
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested too deeply to be read
        raise CheckpointError(f"checkpoint: {path} is not valid JSON: {error}") from None
    if not isinstance(card, dict):
        raise CheckpointError(f"checkpoint: {path}: expected a JSON object, got {json.dumps(card)[:40]}")
    if card.get("schema") != SCHEMA:
        raise CheckpointError(f"checkpoint: {path}: expected schema {SCHEMA}, got {card.get('schema')!r}")
    if not isinstance(options := card.get("options", {}), dict):
        raise CheckpointError(f"checkpoint: {path}: expected options as a JSON object, got {json.dumps(options)[:40]}")
    return card


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Return a checkpoint's tensors. Nothing but tensors is read from the file.

    Raises:
        FileNotFoundError: without the files.
        CheckpointError: if the weights have changed since they were written, or can't be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    expected, path = read_card(folder).get("sha256"), folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: {path} is missing; expected a folder with {WEIGHTS} and {CARD}")
    if (found := sha256(path)) != expected:
        raise CheckpointError(f"checkpoint: {path} is corrupt, expected SHA-256 {expected}, got {found}; copy or train it again")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"checkpoint: {path} holds no tensors that can be read: {error}; copy or train it again") from None


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


def refuse_oversized(folder: Path, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> None:
    """Refuse options that ask for more layers than a checkpoint can hold, before anything is built from them.

    Layers are separate tensors or rows of one, so there are at most as many as the larger of the two numbers.

    Raises:
        CheckpointError: naming the option, what the file can hold and what came.
    """
    most = max([len(tensors), *(size for tensor in tensors.values() for size in tensor.shape)])
    for name, value in options.items():
        if "layers" in name and isinstance(value, int) and value > most:
            raise CheckpointError(f"checkpoint: {folder}: {name} = {value}, but its weights are those of {most} layers at most")


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the place of ``folder`` once the block has ended well.

    If the process is killed at any moment, the old folder or the new one is there, whole: at its place, or where
    `recover_folder` finds it.
    """
    recover_folder(folder)
    fresh, old = _beside(folder)
    fresh.mkdir(parents=True)
    yield fresh
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Put back what a kill during `replace_folder` left beside ``folder``, and remove what it left half done."""
    fresh, old = _beside(folder)
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors' contents, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _beside(folder: Path) -> tuple[Path, Path]:
    """Where a folder is written, and where the one before it waits meanwhile."""
    return folder.with_name(folder.name + ".partial"), folder.with_name(folder.name + ".old")
