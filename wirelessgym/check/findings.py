"""Findings: what the contract checks say, and the small tools they look with."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from wirelessgym.fields import Field


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        ok: whether it is as it should be.
        sentence: what was found.
        hint: what to do about it; empty when there is nothing to do.
    """

    ok: bool
    sentence: str
    hint: str = ""


def rule(ok: bool, holds: str, broken: str, hint: str) -> Finding:
    """Say ``holds``, or ``broken`` and what to do about it."""
    return Finding(True, holds) if ok else Finding(False, broken, hint)


def attempt(holds: str, broken: str, action: Callable[[], object]) -> Finding:
    """Say ``holds`` if ``action()`` runs through, or ``broken`` with what it raised."""
    try:
        action()
    except Exception as error:  # somebody's code may raise anything, and that is a finding
        return Finding(False, broken, f"{type(error).__name__}: {error}{_where(error)}")
    return Finding(True, holds)


def collect(findings: Iterator[Finding]) -> list[Finding]:
    """Run checks in order; an exception ends them and becomes the last finding. The global random state is put back."""
    found: list[Finding] = []
    with watched_random_state():
        try:
            for finding in findings:
                found.append(finding)
        except Exception as error:  # as above
            found.append(Finding(False, f"it raised {type(error).__name__}: {error}", _where(error).strip(" ()")))
    return found


def _where(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f" (in {frame.name}, {frame.filename}:{frame.lineno})"


def random_action(action_fields: Sequence[Field], batch: int, seed: int = 0) -> dict[str, Any]:
    """Sample each entry of an action; see `Field.sample`."""
    generator = torch.Generator().manual_seed(seed)
    return {field.name: field.sample(batch, generator) for field in action_fields}


@contextmanager
def watched_random_state() -> Iterator[list[str]]:
    """Watch the global random states; on leaving, the list names those that were used, and they are put back."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    touched: list[str] = []
    try:
        yield touched
    finally:
        numpy_now = np.random.get_state()  # noqa: NPY002
        touched += ["torch"] * (not torch.equal(before[0], torch.get_rng_state()))
        touched += ["numpy"] * any(not np.array_equal(a, b) for a, b in zip(before[1], numpy_now, strict=True))
        touched += ["python"] * (before[2] != random.getstate())
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])


def disturb_random_state(seed: int) -> None:
    """Move the global random states elsewhere, so that whoever depends on them gives another result."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
