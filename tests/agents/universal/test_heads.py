"""Heads from anywhere: by file, by entry point and by option; for tasks that extend others; and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import number_head
import pytest
import torch
from learned_agents import learned
from noisy_number import NUMBERS, NoisyNumber
from number_head import NumberHead
from universal_agents import TASKS, episodes, stirred, universal
from wirelessgym.agents.universal import heads
from wirelessgym.agents.universal.heads import Head, classical_init, head_class, known_tasks

from wirelessgym.checkpoint import CheckpointError, load_weights, read_card
from wirelessgym.fields import Field, Obs
from wirelessgym.learned import LearnedAgent
from wirelessgym.registry import checkpoint_folders, make_agent, make_task
from wirelessgym.tasks.precoding import Precoding


@dataclass(frozen=True)
class FairPrecoding(Precoding):
    """Precode fairly."""

    id = "fair_precoding"


def numbers() -> tuple[NoisyNumber, Any, Obs]:
    task = make_task(NoisyNumber)
    assert isinstance(task, NoisyNumber)
    return task, *task.reset(range(5), seed=1)


def points(monkeypatch: pytest.MonkeyPatch, *named: tuple[str, str]) -> None:
    found = tuple(EntryPoint(name, f"number_head:{value}", heads.GROUP) for name, value in named)
    monkeypatch.setattr(heads, "entry_points", lambda group: found if group == heads.GROUP else ())


def test_an_entry_point_teaches_a_task_of_another_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    points(monkeypatch, ("noisy_number", "NumberHead"))
    assert known_tasks() == tuple(sorted([*TASKS, "link_adaptation", "noisy_number"]))
    task, state, obs = numbers()
    agent = universal()
    assert agent.does(task.family) and "noisy_number" in agent.tasks
    assert task.check_action(agent.act(task.spec, obs), 5)
    loss = agent.loss(task, state, obs)
    assert loss.item() == pytest.approx(task.score(state, agent.act(task.spec, obs))["nmse"].mean().item())
    again = learned("universal", checkpoint=agent.save(tmp_path))
    assert torch.equal(again.act(task.spec, obs), agent.act(task.spec, obs))  # type: ignore[arg-type]


def test_one_file_in_the_package_teaches_a_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(classical_init, "__path__", [*classical_init.__path__, str(tmp_path)])
    monkeypatch.setattr(heads, "_folder", lambda preset: classical_init.__path__)
    head = Path(number_head.__file__).read_text()
    (tmp_path / "noisy_number.py").write_text(head[: head.index("class OtherHead")])
    assert known_tasks() == tuple(sorted([*TASKS, "link_adaptation", "noisy_number"]))
    task, _, obs = numbers()
    assert task.check_action(universal().act(task.spec, obs), 5)


@pytest.mark.parametrize("head", [NumberHead, "by name"], ids=["class", "name"])
def test_a_head_may_be_given_as_an_option_and_belongs_to_the_checkpoint(
    head: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    points(monkeypatch)
    name = "number_head:NumberHead"
    agent = universal(extra_heads={"noisy_number": NumberHead if head is NumberHead else name})
    task, _, obs = numbers()
    action = agent.act(task.spec, obs)
    folder = agent.save(tmp_path)
    assert read_card(folder)["options"]["extra_heads"] == {"noisy_number": name}
    assert torch.equal(learned("universal", checkpoint=folder).act(task.spec, obs), action)  # type: ignore[arg-type]


def test_a_task_that_extends_a_known_one_uses_its_head_and_its_weights() -> None:
    task, _, obs = episodes("precoding")
    fair = FairPrecoding(task.scenario)
    agent = stirred(universal(), task)
    assert agent.does(fair.family)
    assert torch.equal(agent.act(fair.spec, obs), agent.act(task.spec, obs))  # type: ignore[arg-type]
    assert all("fair_precoding" not in name for name in agent.saved_tensors())


def test_two_packages_that_claim_a_head_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, ("noisy_number", "NumberHead"), ("noisy_number", "OtherHead"))
    with pytest.raises(ValueError, match=r"expected one head for 'noisy_number', got several: from .*NumberHead, .*OtherHead"):
        head_class("noisy_number", "classical_init", {})
    points(monkeypatch, ("precoding", "NumberHead"))
    with pytest.raises(
        ValueError, match=r"expected one head for 'precoding', got several: from .*NumberHead, wirelessgym; remove"
    ):
        head_class("precoding", "classical_init", {})


def test_what_is_no_head_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, ("noisy_number", "NUMBERS"))
    with pytest.raises(TypeError, match=r"entry point 'noisy_number' of wirelessgym.heads: expected a subclass of"):
        head_class("noisy_number", "classical_init", {})
    with pytest.raises(TypeError, match="extra_heads: x: expected a subclass of"):
        head_class("x", "classical_init", {"x": "math:sin"})
    with pytest.raises(ImportError, match="extra_heads: expected 'module:class', got 'math:Head': math has no 'Head'"):
        head_class("x", "classical_init", {"x": "math:Head"})
    with pytest.raises(TypeError, match="abstract"):
        Head(numbers()[0].spec, 8)  # type: ignore[abstract]


@pytest.mark.skipif("universal" not in checkpoint_folders(), reason="no checkpoint of the universal agent is shipped")
def test_the_shipped_weights_are_those_of_this_package_s_heads_name_by_name() -> None:
    folder = checkpoint_folders()["universal"]
    shipped = {key: value for key, value in load_weights(folder).items() if key.startswith("heads.")}
    assert read_card(folder)["options"]["preset"] == "classical_init"
    agent = universal()
    for name in TASKS:
        agent.weights(make_task(name, scenario="uma-nlos-32").spec)
    own = {key: value for key, value in agent.saved_tensors().items() if key.startswith("heads.")}
    # The backbone of the shipped ones is wider than the tokens without a backbone, nothing else differs.
    assert own.keys() == shipped.keys()
    assert {key.split(".")[2] for key in own if own[key].shape != shipped[key].shape} <= {
        "to_token",
        "norm",
        "from_token",
        "to_user",
    }


def test_a_checkpoint_without_the_head_is_refused(tmp_path: Path) -> None:
    agent: LearnedAgent = stirred(universal(), episodes("detection")[0])
    agent.act(episodes("detection")[0].spec, episodes("detection")[2])
    again = make_agent("universal", checkpoint=agent.save(tmp_path), extra_heads={"noisy_number": NumberHead})
    task, _, obs = numbers()
    with pytest.raises(CheckpointError, match="expected a checkpoint with a head for noisy_number, got one for detection"):
        again.act(task.spec, obs)


class ChoiceHead(NumberHead):
    """Logits of one choice among four."""


def test_a_head_of_a_task_with_discrete_actions_decodes_logits_and_acts_on_the_likeliest() -> None:
    task, _, obs = numbers()
    choice = replace(task.spec, action_fields=(Field("choice", (), "int64", "1", 3, 6, "one of four"),))
    agent = universal(extra_heads={"noisy_number": ChoiceHead})
    logits = agent.policy(choice, obs)
    assert isinstance(logits, torch.Tensor) and logits.requires_grad and logits.shape == (5, NUMBERS)
    assert torch.equal(agent.act(choice, obs), 3 + logits.argmax(-1))  # type: ignore[arg-type]
