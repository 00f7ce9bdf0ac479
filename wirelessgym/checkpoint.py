"""Checkpoints: the weights of a torch module in a file, with its SHA-256 beside it in the format of ``sha256sum``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or belongs to another module."""


def save_checkpoint(module: torch.nn.Module, path: str | Path) -> Path:
    """Write a module's weights to ``path`` and their checksum to ``path`` + ``.sha256``; return ``path``."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(module.state_dict(), path)
    _checksum_path(path).write_text(f"{_sha256(path)}  {path.name}\n", encoding="utf-8")
    return path


def load_checkpoint(module: torch.nn.Module, path: str | Path) -> None:
    """Load weights that `save_checkpoint` wrote into ``module``, in place. Nothing but tensors is read from the file.

    Raises:
        FileNotFoundError: without the file or its checksum.
        CheckpointError: if the file has changed since it was written, or its weights don't fit the module.
    """
    path = Path(path)
    for needed in (path, _checksum_path(path)):
        if not needed.is_file():
            raise FileNotFoundError(
                f"checkpoint: {needed} is missing; expected a file and its .sha256 as save_checkpoint writes them"
            )
    expected, found = _checksum_path(path).read_text(encoding="utf-8").split()[0], _sha256(path)
    if found != expected:
        raise CheckpointError(f"checkpoint: {path} is corrupt, expected SHA-256 {expected}, got {found}; copy or train it again")
    try:
        module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"checkpoint: {path} holds weights of another module than {type(module).__name__}: {reason}"
        ) from None


def _checksum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
