"""The checks find nothing in what is right, and each kind of fault in what isn't."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_task import Toy, ToyState

from wirelessgym.agent import Agent
from wirelessgym.check import check_agent, check_scenario, check_task
from wirelessgym.check.inspection import inspect_target
from wirelessgym.fields import Action, Obs
from wirelessgym.registry import UnknownIdError, load_scenario
from wirelessgym.task import Step, Task

SCENARIO = load_scenario("rayleigh-32", {"horizon": 2})


@dataclass(frozen=True)
class Good(Toy):
    """The toy task without its undeclared metric."""

    def step(self, state: ToyState, action: Action) -> tuple[ToyState, Step]:
        state, step = super().step(state, action)
        return state, replace(step, metrics={"nmse": step.metrics["nmse"]})


def broken(**methods: Callable[..., Any]) -> Task:
    """The good task with methods replaced; each gets the good task's method first."""

    def bind(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: Task, *args: Any, **kwargs: Any) -> Any:
            return function(getattr(super(cls, self), name), *args, **kwargs)

        return method

    cls = type("Broken", (Good,), {name: bind(name, function) for name, function in methods.items()})
    return cls(SCENARIO)


def problems(findings: Sequence[Any]) -> str:
    return "\n".join(f"{finding.sentence} // {finding.hint}" for finding in findings if not finding.ok)


def changed_obs(change: Callable[[Obs], Obs]) -> Callable[..., Any]:
    def reset(good: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        state, obs = good(*args, **kwargs)
        return state, change(obs)

    return reset


def changed_step(**changes: Callable[[Step], Any]) -> Callable[..., Any]:
    def step(good: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        state, result = good(*args, **kwargs)
        return state, replace(result, **{name: change(result) for name, change in changes.items()})

    return step


def unseeded(good: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    state, obs = good(*args, **kwargs)
    return state, obs | {"received": obs["received"] + torch.randn(obs["received"].shape)}


def seed_blind(good: Callable[..., Any], episodes: Sequence[int], seed: Any = 0) -> Any:
    return good(episodes, 0)


def tied_to_the_batch(good: Callable[..., Any], episodes: Sequence[int], seed: Any = 0) -> Any:
    state, obs = good(episodes, seed)
    return state, obs | {"received": obs["received"] * (len(obs["received"]) / 20)}


def tied_to_the_order(good: Callable[..., Any], episodes: Sequence[int], seed: Any = 0) -> Any:
    state, obs = good(episodes, seed)
    return state, obs | {"received": obs["received"] + (0.1 if list(episodes) != sorted(episodes) else 0)}


def writes_into_state(good: Callable[..., Any], state: ToyState, action: Action) -> Any:
    following, step = good(state, action)
    state.received.mul_(2)
    return following, step


def unchecked(good: Callable[..., Any], state: ToyState, action: Action) -> Any:
    symbols = action["symbols"] if isinstance(action, dict) else action
    return good(state, torch.nan_to_num(symbols.reshape(len(symbols), -1)[:, :3]))


def without_gradient(good: Callable[..., Any], state: ToyState, action: Action) -> Any:
    with torch.no_grad():
        return good(state, action)


FAULTS: dict[str, tuple[Task, str]] = {
    "global randomness": (broken(reset=unseeded), "draws from the global random state (torch)"),
    "unseeded": (broken(reset=unseeded), "the same seed draws other episodes"),
    "ignored seed": (broken(reset=seed_blind), "another seed draws the same episodes"),
    "batch size": (broken(reset=tied_to_the_batch), "an episode drawn alone differs"),
    "order": (broken(reset=tied_to_the_order), "changes with the order"),
    "missing entry": (broken(reset=changed_obs(lambda obs: {"slot": obs["slot"]})), "observation_fields names"),
    "dtype": (broken(reset=changed_obs(lambda obs: obs | {"noise_power": obs["noise_power"].double()})), "float64"),
    "bounds": (broken(reset=changed_obs(lambda obs: obs | {"noise_power": obs["noise_power"] + 2})), "allows [0, 1]"),
    "state changed": (broken(step=writes_into_state), "writes into the state"),
    "stuck": (broken(step=lambda good, s, a: (s, good(s, a)[1])), "does not move time_step on"),
    "reward": (broken(step=changed_step(reward=lambda s: -s.reward)), "the reward is not minus nmse"),
    "undeclared": (broken(step=changed_step(metrics=lambda s: s.metrics | {"ser": s.reward})), "not declared: ['ser']"),
    "no headline": (broken(step=changed_step(metrics=lambda s: {})), "declared but not returned: ['nmse']"),
    "infinite": (broken(step=changed_step(metrics=lambda s: {"nmse": s.reward / 0})), "not finite"),
    "bad actions": (broken(step=unchecked), "symbols with NaN: it was accepted"),
    "bad shapes": (broken(step=unchecked), "symbols of the wrong shape: it was accepted"),
    "no gradient": (broken(step=without_gradient), "gradient with respect to the action fails"),
    "loose bound": (
        broken(bound=lambda good, state: torch.full(state.seed.shape, 9.0)),
        "a random action beats bound()",
    ),
    "raises": (broken(reset=lambda good, *a, **k: 1 / 0), "it raised ZeroDivisionError"),
}


def test_nothing_is_found_in_a_good_task() -> None:
    assert problems(check_task(Good(SCENARIO))) == ""


@pytest.mark.parametrize("fault", FAULTS)
def test_task_fault_is_found(fault: str) -> None:
    task, message = FAULTS[fault]
    assert message in problems(check_task(task))


def test_undeclared_metric_of_the_toy_task_is_found() -> None:
    assert "returned but not declared: ['error']" in problems(check_task(Toy(SCENARIO)))


class Memory(Agent):
    """Answers with the sum of all it has seen, and forgets only if told to do so."""

    def __init__(self, forgets: bool) -> None:
        self.forgets, self.seen = forgets, torch.zeros(1)

    def reset(self, batch: int) -> None:
        if self.forgets:
            self.seen = torch.zeros(1)

    def act(self, task: Task, obs: Obs) -> Tensor:
        self.seen = self.seen[:1] + obs["received"] if self.forgets else self.seen.mean() + obs["received"]
        return self.seen


class Elsewhere(Memory):
    tasks = ("precoding",)


def noisy(obs: Obs) -> Tensor:
    return obs["received"] + torch.randn(obs["received"].shape)


def numpy_noise(obs: Obs) -> Tensor:
    return obs["received"] + float(np.random.standard_normal())  # noqa: NPY002


AGENTS: dict[str, tuple[object, str]] = {
    "shape": (lambda obs: obs["received"][:, :2], "expected shape (5, 3)"),
    "kind": (lambda obs: "left", "it raised TypeError"),
    "nan": (lambda obs: obs["received"] * torch.nan, "row 0 holds NaN"),
    "writes": (lambda obs: obs["received"].mul_(2), "it writes into the observation"),
    "global torch": (noisy, "draws from the global random state (torch)"),
    "unrepeatable": (noisy, "gets another action"),
    "global numpy": (numpy_noise, "draws from the global random state (numpy)"),
    "batch mean": (lambda obs: obs["received"] - obs["received"].mean(0), "row 2 alone gets another action"),
    "memory": (Memory(forgets=False), "clear memory"),
    "other task": (Elsewhere(forgets=True), "does not offer the task toy"),
    "raises": (lambda obs: obs["csi"], "it raised KeyError: 'csi'"),
}


@pytest.mark.parametrize("fault", AGENTS)
def test_agent_fault_is_found(fault: str) -> None:
    agent, message = AGENTS[fault]
    assert message in problems(check_agent(agent, Good(SCENARIO)))


@pytest.mark.parametrize("agent", [lambda obs: obs["received"], Memory(forgets=True)], ids=["function", "memory"])
def test_nothing_is_found_in_a_good_agent(agent: object) -> None:
    findings = check_agent(agent, Good(SCENARIO))
    assert problems(findings) == "" and len(findings) == 6


def test_checks_put_the_global_random_state_back() -> None:
    before = torch.get_rng_state()
    check_agent(noisy, Good(SCENARIO))
    check_task(broken(reset=unseeded))
    assert torch.equal(before, torch.get_rng_state())


def test_scenario_file_with_a_wrong_key_is_told_with_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('source = "me"\nmodel = "uma"\nnum_user = 4\n')
    assert "did you mean 'num_users'" in problems(check_scenario(path))


def test_scenario_without_description_is_found() -> None:
    assert "does not say what it is" in problems(check_scenario(SCENARIO.with_overrides({"description": ""})))


def test_unknown_scenario_is_no_finding() -> None:
    with pytest.raises(UnknownIdError, match="did you mean 'rayleigh-32'"):
        check_scenario("rayleigh-23")


def test_target_names_an_agent_a_task_or_a_scenario() -> None:
    (agent,) = inspect_target("rzf", scenario="rayleigh-32")
    assert agent[0] == "agent rzf in precoding" and problems(agent[1]) == ""
    (task,) = inspect_target("test_check:Good", scenario="rayleigh-32", overrides={"snr_db": 3})
    assert task[0] == "task test_check:Good" and problems(task[1]) == ""
    (scenario,) = inspect_target("rayleigh-32")
    assert scenario[0] == "scenario rayleigh-32" and problems(scenario[1]) == ""
    with pytest.raises(UnknownIdError, match="nothing is called 'rzff'"):
        list(inspect_target("rzff"))


def test_an_agent_that_reaches_for_the_episodes_is_found_as_in_a_comparison() -> None:
    class Peeping(Agent):
        def act(self, task: Task, obs: Obs) -> Action:
            return task.reset([0])[0].symbols

    assert "'reset' is out of their reach" in problems(check_agent(Peeping(), Good(SCENARIO)))
