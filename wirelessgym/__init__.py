"""wirelessgym: link-level wireless environments on Sionna channels, with classical baselines and honest comparison.

Importing it registers the Gymnasium ids (``wirelessgym/Precoding-v0`` and the others). Names load on first use.
"""

from __future__ import annotations

import os
import sys

# ``python -m wirelessgym`` puts the current folder first: a random.py there would stand in for Python's own. It goes last.
if sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()]:
    sys.path.append(sys.path.pop(0))

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

# OpenMP threads that spin while waiting slow torch down many times on shared cores; libgomp reads this when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if TYPE_CHECKING:
    from wirelessgym.agent import Agent, as_agent, numpy_agent
    from wirelessgym.evaluate import compare
    from wirelessgym.fields import Field
    from wirelessgym.metrics import Metric
    from wirelessgym.registry import load_scenario, make_agent, make_task
    from wirelessgym.rollouts import rollout
    from wirelessgym.scenario import Scenario
    from wirelessgym.spec import TaskSpec
    from wirelessgym.task import Step, Task

__version__ = "0.1.0"

_HOME = {
    "Agent": "agent", "as_agent": "agent", "numpy_agent": "agent", "compare": "evaluate", "Field": "fields", "Metric": "metrics",
    "load_scenario": "registry", "make_agent": "registry", "make_task": "registry", "Scenario": "scenario",
    "Step": "task", "Task": "task", "TaskSpec": "spec", "rollout": "rollouts",
}  # fmt: skip
__all__ = [
    "Agent", "Field", "Metric", "Scenario", "Step", "Task", "TaskSpec", "as_agent", "compare", "load_scenario", "make_agent",
    "make_task", "numpy_agent", "rollout",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'wirelessgym' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"wirelessgym.{_HOME[name]}"), name)


def register_envs() -> None:
    """Register the Gymnasium ids, ``wirelessgym/Precoding-v0`` for task ``precoding`` and so on."""
    from gymnasium.envs.registration import register, registry

    from wirelessgym.registry import ids

    for task in ids("tasks"):
        name = f"wirelessgym/{''.join(part.capitalize() for part in task.split('_'))}-v0"
        if name not in registry:
            register(
                name,
                entry_point="wirelessgym.env:make_env",
                vector_entry_point="wirelessgym.env:make_vector_env",
                kwargs={"task": task},
            )


# The command line makes no Gymnasium environments by id and must start at once, so it skips the import of gymnasium.
if Path(sys.argv[0] if sys.argv else "").name != "wirelessgym" and sys.orig_argv[1:3] != ["-m", "wirelessgym"]:
    register_envs()
