"""The card of a trained checkpoint: what it was trained on, how long, where, with which seeds, and what validation says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from wirelessgym.learned import FIRST_TRAINING_SEED, FIRST_VALIDATION_SEED, LearnedAgent
from wirelessgym.record import provenance, versions
from wirelessgym.task import Task
from wirelessgym.train.config import Configuration
from wirelessgym.train.folder import Done
from wirelessgym.train.schedule import uses


def training_card(
    config: Configuration, tasks: Mapping[str, Task], agent: LearnedAgent, done: Done, device: torch.device
) -> dict[str, Any]:
    """Return what the trainer adds to an agent's card. Of the machine it names the hardware only.

    A run that began from a checkpoint keeps its tasks, and its training as ``before``.
    """
    counts = dict(zip(tasks, uses(config, done.step), strict=True))
    origin = provenance([task.scenario.channel for task in tasks.values()], round(done.seconds, 3)).model_dump(mode="json")
    origin["versions"] |= versions(("accelerate",))
    if device.type == "cuda":
        origin["hardware"] |= {"gpu": torch.cuda.get_device_name(device)}
    return {
        "tasks": list(dict.fromkeys([*done.inherited.get("tasks", ()), *(task.id for task in tasks.values())])),
        "training": {
            "steps": done.step,
            "episodes": {label: counts[label] * entry.batch for label, entry in zip(tasks, config.tasks, strict=True)},
            "skipped_updates": done.skipped,
            **origin,
            "seeds": {
                "weights": agent.seed,
                "training": FIRST_TRAINING_SEED + config.seed,
                "validation": FIRST_VALIDATION_SEED + config.seed,
            },
            "validation": {
                label: {"metric": tasks[label].headline.name, "value": value, "unit": tasks[label].headline.unit}
                for label, value in done.validation.items()
            },
            "configuration": config.plain(),
            **({"before": done.inherited["training"]} if "training" in done.inherited else {}),
        },
    }
