"""Trained models that come with this package, and language models to build on: which there are, and whether they are intact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wirelessgym.io import sha256
from wirelessgym.registry import UnknownIdError, agent_module, checkpoint_folders
from wirelessgym.suggest import hint

NEEDED = "language models need transformers, peft and what belongs to them: pip install 'wirelessgym[llm]'"


def checkpoint_lines() -> list[str]:
    """Return one line for each trained model, read from its card."""
    rows = []
    for name, folder in checkpoint_folders().items():
        card = _card(folder)
        if not card:
            rows.append((name, "damaged: card.json is no JSON object", "", "", ""))
            continue
        training = card.get("training", {})
        weights, steps = f"{card.get('trainable_parameters', 0):,} weights", f"{training.get('steps', 0):,} steps"
        rows.append((name, ", ".join(card.get("tasks", ())), weights, steps, _time(float(training.get("wall_time_s", 0.0)))))
    return _aligned(rows)


def backbone_lines() -> list[str]:
    """Return one line for each known language model, or one that says what they need."""
    try:
        known = _backbones().catalogue()
    except ImportError as error:
        return [f"{NEEDED} ({error})"]
    rows = []
    for model in known:
        place = "installed" if model.installed else f"not installed: wirelessgym models install {model.name}"
        rows.append((model.name, model.description, f"{model.parameters:,} weights", model.licence, place))
    return _aligned(rows)


def install(name: str) -> Path:
    """Make a language model ready for use; return its folder.

    Raises:
        UnknownIdError: for an unknown name.
        ImportError: without the packages that it needs.
    """
    try:
        backbones = _backbones()
    except ImportError as error:
        raise ImportError(f"{NEEDED} ({error})") from None
    names = [model.name for model in backbones.catalogue()]
    if name not in names:
        raise _unknown(name, names)
    folder: Path = backbones.install(name)
    return folder


def verify(name: str | None = None) -> list[tuple[str, list[str]]]:
    """Check trained models and installed language models against their SHA-256.

    Args:
        name: one of them; by default all that are installed.

    Returns:
        Each one's name, and what is wrong with it: nothing, if it is intact.

    Raises:
        UnknownIdError: for an unknown name.
        FileNotFoundError: for a language model that isn't installed.
    """
    checkpoints = checkpoint_folders()
    found = [(one, _damage(folder)) for one, folder in checkpoints.items() if name in (None, one)]
    if name is not None and found:
        return found
    try:
        backbones: Any = _backbones()
    except ImportError:
        if name is not None:
            raise _unknown(name, list(checkpoints)) from None
        return found
    known = {model.name: model.installed for model in backbones.catalogue()}
    if name is not None and name not in known:
        raise _unknown(name, [*checkpoints, *known])
    for one, installed in known.items():
        if name == one or (name is None and installed):
            found.append((one, _backbone_damage(backbones, one)))
    return found


def _card(folder: Path) -> dict[str, Any]:
    """A checkpoint's card; empty where it is damaged. `wirelessgym.checkpoint.read_card` would import torch."""
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def _backbones() -> Any:
    return agent_module("universal.model_store")


def _backbone_damage(backbones: Any, name: str) -> list[str]:
    try:
        return list(backbones.verify(name))
    except ValueError as error:  # a manifest that can't be read
        return [str(error)]


def _damage(folder: Path) -> list[str]:
    expected = _card(folder).get("sha256")
    if not isinstance(expected, str):
        return ["card.json holds no sha256"]
    path = folder / "weights.safetensors"
    if not path.is_file():
        return [f"{path.name} is missing"]
    found = sha256(path)
    return [] if found == expected else [f"{path.name} is corrupt, expected SHA-256 {expected}, got {found}"]


def _unknown(name: str, known: list[str]) -> UnknownIdError:
    return UnknownIdError(f"no model is called {name!r}; {hint(name, known)}")


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
