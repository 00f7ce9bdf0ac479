"""Checks that an agent, a task or a scenario keeps the public contract, in words that say what to change.

The same functions stand behind ``wirelessgym check`` and behind this package's own contract tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wirelessgym.agent import Agent, as_agent
from wirelessgym.channel import Channel
from wirelessgym.check.findings import Finding, attempt, collect, disturb_random_state, rule, watched_random_state
from wirelessgym.check.task_contract import check_task
from wirelessgym.episodes import sample_episodes
from wirelessgym.fields import Action, Obs, clone, equal, num_rows, take
from wirelessgym.registry import load_scenario, make_task
from wirelessgym.rollouts import Rollout
from wirelessgym.scenario import Scenario, ScenarioError
from wirelessgym.task import Task

__all__ = ["Finding", "check_agent", "check_scenario", "check_task"]

BATCH = 5
_LONG, _WIDE_HZ = 1000, 7.3e6  # slots and spacing of tones over which power is averaged: beyond the band, so that paths part
ROW_TOLERANCE = 1e-3  # share of a row's largest entry by which it may differ when other rows stand beside it


def check_agent(agent: object, task: Task, seed: int = 0) -> list[Finding]:
    """Look at an agent on a few episodes of a task.

    Args:
        agent: whatever `wirelessgym.as_agent` accepts.
        task: the task it should do.
        seed: seed of the episodes.

    Returns:
        One finding for each rule, in order; an exception of the agent's ends the list and is its last finding.

    Raises:
        TypeError: if ``agent`` is nothing that can act.
    """
    player = as_agent(agent)
    if not player.does(task.family):
        offered = ", ".join(player.tasks)
        return [Finding(False, f"{player.name} does not offer the task {task.id}", f"it offers: {offered}")]
    return collect(_agent_findings(player, task, seed))


def _agent_findings(agent: Agent, task: Task, seed: int) -> Iterator[Finding]:
    state, obs = task.reset(episodes=range(BATCH), seed=seed)
    kept = take(obs, range(BATCH))
    with watched_random_state() as touched:
        agent.reset(BATCH)
        action = _acted(agent, task, state, obs)
    fits = attempt(
        f"a batch of {BATCH} gets actions of the right shape and dtype, all finite",
        "the action does not fit its fields",
        lambda: task.check_action(action, BATCH),
    )
    yield fits
    if not fits.ok:
        return
    first = task.check_action(action, BATCH)
    yield rule(
        equal(kept, obs),
        "it leaves the observation as it was",
        "it writes into the observation, which other agents get too",
        "work on a copy, or out of place",
    )
    yield rule(
        not touched,
        "it leaves the global random state alone",
        f"it draws from the global random state ({', '.join(touched)})",
        "draw from a torch.Generator of your own that reset() seeds",
    )
    disturb_random_state(seed + 1)
    again = _fresh_action(agent, task, state, kept)
    yield rule(
        equal(first, again),
        "after reset() the same observation gives the same action",
        "after reset() the same observation gives another action",
        "clear memory and seed generators in reset(batch)",
    )
    alone = _fresh_action(agent, task, take(state, [2]), take(kept, [2]))
    difference = max(_relative_difference(alone[key][0], value[2]) for key, value in first.items())
    yield rule(
        difference <= ROW_TOLERANCE,
        f"a row's action does not depend on the other rows of the batch (to {ROW_TOLERANCE:g} of its largest entry)",
        f"row 2 alone gets another action than among {BATCH} (relative difference {difference:.1e})",
        "work along the last axes only, never along the batch axis; an agent that draws must draw row by row",
    )
    yield attempt(
        "it plays on after the first step", "it does not play on after the first step", lambda: _play(agent, task, seed)
    )


def _acted(agent: Agent, task: Task, state: Any, obs: Obs) -> Action:
    return agent.act_on_state(task, state, obs) if agent.needs_state else agent.act(task.spec, obs)


def _fresh_action(agent: Agent, task: Task, state: Any, obs: Obs) -> dict[str, Tensor]:
    batch = num_rows(obs)
    agent.reset(batch)
    return task.check_action(_acted(agent, task, state, clone(obs)), batch)


def _relative_difference(value: Any, reference: Any) -> float:
    if not isinstance(value, Tensor):
        return 0.0 if value == reference else math.inf
    value, reference = (x if x.is_complex() else x.float() for x in (value, reference))
    return float((value - reference).abs().max() / reference.abs().max().clamp_min(1e-12))


def _play(agent: Agent, task: Task, seed: int) -> None:
    state, obs = task.reset(episodes=[0], seed=seed)
    agent.reset(1)
    rollout = Rollout(task, state, obs)
    for _ in range(2):
        rollout.step(_acted(agent, task, rollout.state, rollout.obs))


def check_scenario(scenario: str | Path | Scenario, seed: int = 0) -> list[Finding]:
    """Look at a scenario (id, TOML file or object): it parses, describes itself, draws, and keeps its normalisation.

    Raises:
        UnknownIdError: for an id that doesn't exist.
        FileNotFoundError: for a path that isn't there.
    """
    try:
        setting = load_scenario(scenario)
    except ScenarioError as error:
        return [Finding(False, "it does not parse", str(error))]
    return collect(_scenario_findings(setting, seed))


def _scenario_findings(setting: Scenario, seed: int) -> Iterator[Finding]:
    yield Finding(True, f"it parses: {setting.channel.label}, {setting.max_users} users on {setting.num_antennas} antennas")
    yield rule(
        bool(setting.description.strip()),
        "it says in one line what it is",
        "it does not say what it is",
        'add a line description = "..."',
    )
    task = make_task("precoding", scenario=setting, csi_snr_db=None, num_subcarriers=1, horizon=1)
    _, obs = task.reset(episodes=range(16), seed=seed)
    power = obs["csi"].abs().square().mean(-1)
    present = obs.get("mask", torch.ones_like(power, dtype=torch.bool))
    yield rule(
        bool((power[present] > 0).all() and power.isfinite().all()),
        "it draws channels that are finite and not zero",
        "it draws channels that are zero or not finite",
        "look at path loss, shadowing and the drop's distances",
    )
    if setting.normalisation == "none":
        return
    power = _power_of_episodes(setting, seed)
    off = (power - 1).abs().amax() if setting.normalisation.endswith("-realised") else (power.mean() - 1).abs()
    tolerance = 1e-3 if setting.normalisation.endswith("-realised") else 0.1 + 5 * float(power.std()) / math.sqrt(len(power))
    yield rule(
        float(off) < tolerance,
        f'normalisation = "{setting.normalisation}" holds: mean power per antenna is 1',
        f'normalisation = "{setting.normalisation}" does not hold: mean power per antenna is off by {float(off):.3g}',
        "the channel layer scales each episode by what ChannelKind.expected_power says; see Scenario.normalisation",
    )


def _power_of_episodes(setting: Scenario, seed: int) -> Tensor:
    """Mean power per antenna over users, time and frequency of some normalised episodes, shape (16,)."""
    channel = Channel(setting, setting.max_users, 12, _WIDE_HZ)
    sampled = sample_episodes(channel, range(16), seed, _LONG)
    return (channel.realised_power(sampled.drop, 0, _LONG) * sampled.present).sum(-1) / sampled.present.sum(-1)
