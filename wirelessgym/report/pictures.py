"""Pictures: what the best agents did in the first episode, as the task draws it (beams, constellations, channels)."""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from wirelessgym.agent import Agent
from wirelessgym.agent_names import named_agent
from wirelessgym.agent_spec import is_own
from wirelessgym.options import split
from wirelessgym.record import Record
from wirelessgym.registry import make_task, own_ids
from wirelessgym.report.tables import Section
from wirelessgym.report.verdict import champions
from wirelessgym.scenario import Scenario

MOST = 2  # in a section: a few are looked at, a wall of them is not
HEIGHT = 195  # on the page: two of two panels stand side by side
COLOURS = 64  # of the palette that keeps a picture small


@dataclass(frozen=True)
class Picture:
    """One agent's.

    Attributes:
        agent: who acted.
        source: a data address of a PNG.
        width: on the page, pixels.
        height: on the page, pixels.
    """

    agent: str
    source: str
    width: int
    height: int


def pictures(section: Section) -> tuple[str, list[Picture]]:
    """Return the value of the swept field that pictures are of (empty without one), and those of the best agents.

    The first episode is played anew from what the records say. There are none for tasks and agents of other packages, whose code
    a report doesn't run, of secret episodes, and of whatever can't be made again here.
    """
    value, records = section.points[len(section.points) // 2]
    found = []
    for name in champions(section)[:MOST]:
        record = next((r for r in records if r.agent == name), None)
        if record is not None and (made := _picture(record)) is not None:
            found.append(made)
    return "" if section.axis is None else str(value), found


def _picture(record: Record) -> Picture | None:
    agent = _agent(record)
    if agent is None or isinstance(record.seed, str) or record.task not in own_ids("tasks"):
        return None
    try:
        task = make_task(record.task, Scenario.model_validate(record.scenario_settings), **record.task_options)
        state, obs = task.reset([0], record.seed)
        agent.reset(1)
        with torch.no_grad():
            image = Image.fromarray(task.render(state, agent.act(task.spec, obs)))
    except Exception:  # records from another machine or version; a report has its numbers without
        return None
    file = io.BytesIO()
    image.quantize(COLOURS).save(file, "png", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Picture(record.agent, source, round(image.width * HEIGHT / image.height), HEIGHT)


def _agent(record: Record) -> Agent | None:
    """The agent that the record's command names, if it is one of the project's own."""
    for spec in _specs(shlex.split(record.command)):
        if is_own(spec):
            try:
                agent = named_agent(spec)
            except (ImportError, LookupError, OSError, TypeError, ValueError):
                continue
            if agent.name == record.agent:
                return agent
    return None


def _specs(words: Sequence[str]) -> list[str]:
    return split([words[words.index("--agents") + 1]]) if "--agents" in words[:-1] else []
