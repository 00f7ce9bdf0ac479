"""Agents on several subcarriers do what they do on each of them alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from universal_agents import stirred

from wirelessgym import compare, make_agent, make_task
from wirelessgym.agent import Agent
from wirelessgym.check import check_task
from wirelessgym.fields import Action, Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.registry import agents_for
from wirelessgym.subcarriers import fold_subcarriers, num_subcarriers, one_subcarrier, over_subcarriers, unfold_subcarriers
from wirelessgym.task import Task

SUBCARRIERS = 3
WIDE: dict[str, dict[str, Any]] = {
    "precoding": {"scenario": "uma-nlos-16", "num_users": (2, 3), "csi_snr_db": 10},
    "detection": {"scenario": "uma-nlos-16", "num_users": (2, 3), "csi_snr_db": 20, "modulation": "qpsk", "llrs": True},
}
FRESH: dict[str, dict[str, Any]] = {"universal": {"checkpoint": None, "backbone": "none"}}
ANSWER_STRUCTURE = ("rzf", "wmmse", "robust_wmmse", "cnn_precoder", "universal", "set_transformer", "denoiser_wmmse", "vae_wmmse")
PAIRS = [(task, agent, {}) for task in WIDE for agent in agents_for(task) if agent != "random"]
PAIRS += [("precoding", agent, {"action": "structure"}) for agent in ANSWER_STRUCTURE]


@cache
def pair(name: str, action: str = "precoder") -> tuple[Task, Task, Any, Obs]:
    """The task on several subcarriers and on one, and a state of the former with what is seen of it."""
    options = WIDE[name] | ({"action": action} if name == "precoding" else {})
    narrow, wide = (make_task(name, subcarriers=count, **options) for count in (1, SUBCARRIERS))
    return wide, narrow, *wide.reset(range(5), seed=2)


def alone(wide: Task, obs: Obs, s: int) -> Obs:
    """What is seen on subcarrier s when it has its share of the power."""
    own = {field.name for field in wide.observation_fields if field.per_subcarrier}
    seen = {name: value[:, s] if name in own else value for name, value in obs.items()}
    return seen | ({"tx_power": seen["tx_power"] / SUBCARRIERS} if "tx_power" in seen else {})


def entries(action: Action) -> dict[str, Tensor]:
    return action if isinstance(action, dict) else {"": action}


def made(name: str, narrow: Task, **options: Any) -> Agent:
    agent = make_agent(name, **FRESH.get(name, {}), **options)
    return stirred(agent, narrow) if isinstance(agent, LearnedAgent) else agent


@pytest.mark.parametrize(
    ("task", "agent", "options"), PAIRS, ids=lambda value: "-".join(value.values()) if value == {} else str(value)
)
def test_an_agent_treats_each_subcarrier_as_if_it_were_alone_with_its_share_of_the_power(
    task: str, agent: str, options: dict[str, str]
) -> None:
    wide, narrow, state, obs = pair(task, **options)
    actor = made(agent, narrow)
    together = entries(actor.act(wide.spec, obs))
    for s in range(SUBCARRIERS):
        for name, expected in entries(actor.act(narrow.spec, alone(wide, obs, s))).items():
            torch.testing.assert_close(together[name][:, s], expected, rtol=1e-3, atol=1e-3)
    metrics = wide.score(state, together if task == "detection" else next(iter(together.values())))
    assert metrics[wide.headline.name].isfinite().all()
    if task == "precoding":
        assert (metrics["power_scale"] > 0.999).all()


SUPERVISED = [
    ("precoding", "cnn_precoder", {}),
    ("precoding", "universal", {"preset": "paper"}),
    ("detection", "detnet", {}),
    ("detection", "universal", {"preset": "paper"}),
]


@pytest.mark.parametrize(("task", "agent", "options"), SUPERVISED)
def test_a_supervised_loss_is_the_mean_of_the_losses_on_each_subcarrier(task: str, agent: str, options: dict[str, Any]) -> None:
    wide, narrow, state, obs = pair(task)
    learner = made(agent, narrow, **options)
    assert isinstance(learner, LearnedAgent)
    learner.weights(wide.spec).eval()
    parts = []
    for s in range(SUBCARRIERS):
        here = {name: getattr(state, name)[:, s] for name in ("h", "csi", "sent", "received") if hasattr(state, name)}
        parts.append(learner.loss(narrow, replace(state, **here), alone(wide, obs, s), progress=0.0))
    torch.testing.assert_close(learner.loss(wide, state, obs, progress=0.0), torch.stack(parts).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("task", "agent"), [(t, a) for t in WIDE for a in ("universal", "set_transformer")])
def test_a_loss_over_several_subcarriers_reaches_the_weights(task: str, agent: str) -> None:
    wide, _, state, obs = pair(task)
    learner = make_agent(agent, **FRESH.get(agent, {}))
    assert isinstance(learner, LearnedAgent)
    loss = learner.loss(wide, state, obs)
    if task == "precoding":
        torch.testing.assert_close(-loss, wide.score(state, learner.forward(wide.spec, obs))["sum_rate"].mean())
    loss.backward()
    gradients = [p.grad for p in learner.weights(wide.spec).parameters() if p.grad is not None]
    assert gradients and all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 0


def test_weights_built_for_several_subcarriers_are_those_of_one() -> None:
    wide, narrow, *_ = pair("precoding")
    first, second = (make_agent("cnn_precoder", seed=4) for _ in range(2))
    for one, other in zip(first.weights(wide).parameters(), second.weights(narrow).parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_task_on_a_single_subcarrier_is_the_narrowband_task() -> None:
    for name in WIDE:
        wide, narrow, *_ = pair(name)
        assert num_subcarriers(wide.spec) == SUBCARRIERS
        assert one_subcarrier(wide.spec) == narrow.spec
        assert one_subcarrier(narrow.spec) is narrow.spec


def test_folding_splits_the_power_repeats_what_is_common_and_can_be_undone() -> None:
    wide, _, _, obs = pair("precoding")
    told = tuple(f"row {row}" for row in range(5))
    _, folded = fold_subcarriers(wide.spec, obs | {"instruction": told})
    assert torch.equal(folded["csi"][3], obs["csi"][1, 0])
    assert torch.equal(folded["tx_power"], obs["tx_power"].repeat_interleave(SUBCARRIERS) / SUBCARRIERS)
    assert torch.equal(folded["noise_power"], obs["noise_power"].repeat_interleave(SUBCARRIERS))
    assert torch.equal(folded["mask"][5], obs["mask"][1])
    assert folded["instruction"][:4] == ("row 0", "row 0", "row 0", "row 1")
    assert torch.equal(entries(unfold_subcarriers(wide.spec, folded["csi"]))[""], obs["csi"])


def test_a_channel_with_subcarriers_inside_is_left_whole() -> None:
    task = make_task("channel_prediction", scenario="rayleigh-32", num_subcarriers=8)
    _, obs = task.reset(range(2))
    spec, same = fold_subcarriers(task.spec, obs)
    assert spec is task.spec and same is obs


def test_water_filling_over_subcarriers_reaches_the_capacity_of_one_user() -> None:
    task = make_task("precoding", scenario="cdl-c-32", subcarriers=6, num_users=1, snr_db=-5, panel={"rows": 1, "columns": 1})
    state, obs = task.reset(range(32))
    rates = {}
    for across in (False, True):
        metrics = task.score(state, make_agent("zf_waterfilling", across_subcarriers=across).act(task.spec, obs))
        assert torch.allclose(metrics["power_scale"], torch.ones(32))
        rates[across] = metrics["sum_rate"]
    bound = task.bound(state)
    assert bound is not None
    torch.testing.assert_close(rates[True], bound, rtol=1e-3, atol=1e-4)
    assert (rates[True] >= rates[False] * 0.9999).all()
    assert rates[True].mean() > 1.05 * rates[False].mean()


@pytest.mark.parametrize("name", list(WIDE))
def test_a_task_on_several_subcarriers_keeps_the_contract(name: str) -> None:
    task = make_task(name, scenario="uma-nlos-16", subcarriers=SUBCARRIERS, num_subcarriers=8, horizon=2, csi_snr_db=10)
    assert [finding.sentence for finding in check_task(task) if not finding.ok] == []


class OwnMRT(Agent):
    """An agent that somebody writes for one subcarrier."""

    tasks = ("precoding",)

    @over_subcarriers
    def act(self, task: Any, obs: Obs) -> Tensor:
        assert len(task.observation_fields[0].shape) == 2
        return obs["csi"] * (obs["tx_power"] / obs["csi"].abs().square().sum((1, 2))).sqrt()[:, None, None]


def test_a_comparison_on_several_subcarriers_stays_below_its_bound() -> None:
    agents = [*agents_for("precoding", unasked=True), OwnMRT()]
    table = compare(
        "precoding", agents=agents, scenario="uma-nlos-16", subcarriers=4, num_users=3, horizon=2, episodes=16, processes=1
    )
    means = {record.agent: record.metrics["sum_rate"].mean for record in table.records}
    assert len(means) == len(agents) + 1
    bound = means.pop("bound")
    assert all(0 < mean < bound for mean in means.values())
    assert means["random"] < means["mrt"] < means["wmmse"]
