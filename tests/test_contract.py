"""Every task, scenario and agent of the registry keeps the public contract."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from wirelessgym import make_agent, make_task
from wirelessgym.catalogue import catalogue
from wirelessgym.check import check_agent, check_scenario, check_task
from wirelessgym.check.findings import Finding
from wirelessgym.registry import agent_module, agents_for, checkpoint_folders, ids
from wirelessgym.task import Task

# Learned agents are looked at with fresh weights; those that would start from shipped ones need to be told.
FRESH: dict[str, dict[str, Any]] = {"universal": {"checkpoint": None, "backbone": "none"}}
PAIRS = [(task, agent) for task in ids("tasks") for agent in agents_for(task)]


@cache
def cheap(task: str, scenario: str) -> Task:
    return make_task(task, scenario=scenario, num_subcarriers=8, horizon=2)


def problems(findings: list[Finding]) -> list[str]:
    return [f"{finding.sentence} ({finding.hint})" for finding in findings if not finding.ok]


@pytest.mark.parametrize("scenario", ["rayleigh-32", "uma-nlos-16"])
@pytest.mark.parametrize("task", ids("tasks"))
def test_task_keeps_the_contract(task: str, scenario: str) -> None:
    assert problems(check_task(cheap(task, scenario))) == []


@pytest.mark.parametrize("scenario", ids("scenarios"))
def test_scenario_keeps_the_contract(scenario: str) -> None:
    assert problems(check_scenario(scenario)) == []


@pytest.mark.parametrize(("task", "agent"), PAIRS, ids=lambda value: value)
def test_agent_keeps_the_contract(task: str, agent: str) -> None:
    assert problems(check_agent(make_agent(agent, **FRESH.get(agent, {})), cheap(task, "uma-nlos-16"))) == []


@pytest.mark.parametrize("task", ["precoding", "detection", "channel_prediction"])
def test_the_language_model_keeps_the_contract_with_its_shipped_weights(task: str) -> None:
    if "universal" not in checkpoint_folders():
        pytest.skip("no checkpoint of the universal agent is shipped")
    for package in ("transformers", "peft"):
        pytest.importorskip(package)
    try:
        agent_module("universal.model_store").locate("smollm2-135m")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert problems(check_agent(make_agent("universal"), cheap(task, "uma-nlos-16"))) == []


@pytest.mark.parametrize("task", ids("tasks"))
def test_every_task_has_agents_that_do_more_than_draw(task: str) -> None:
    assert len(set(agents_for(task)) - {"random"}) >= 5


def test_catalogue_tells_the_tasks_that_agents_offer() -> None:
    told = {entry.id: entry.tasks for entry in catalogue("agents")}
    assert all(not told[agent] or task in told[agent] for task, agent in PAIRS)
    assert all(entry.description for kind in ("tasks", "scenarios", "agents") for entry in catalogue(kind))
