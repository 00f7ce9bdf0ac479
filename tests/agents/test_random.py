"""The floor: a row's action depends on its own observation alone, and is spread as its field says."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from wirelessgym.agents.random import row_keys, uniforms

import wirelessgym
from wirelessgym import make_agent, make_task
from wirelessgym.fields import Field, take
from wirelessgym.modulation import constellation

BATCH = 4000


def acted(*fields: Field, **obs: Any) -> Any:
    return make_agent("random").act(SimpleNamespace(action_fields=fields), obs)  # type: ignore[arg-type]


def seen(batch: int = BATCH, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 3, generator=torch.Generator().manual_seed(seed))


def test_its_numbers_are_uniform_and_independent_over_rows_and_places() -> None:
    numbers = uniforms(row_keys({"seen": seen()}), 64)
    assert 0 < numbers.min() < 1e-4 and 1 - 1e-4 < numbers.max() < 1
    counts = torch.histc(numbers, 16, 0, 1)
    chi_squared = ((counts - numbers.numel() / 16).square() / (numbers.numel() / 16)).sum()
    assert chi_squared < 37.7  # 15 degrees of freedom: 0.1 % lie above
    correlation = torch.corrcoef(numbers.mT) - torch.eye(64)
    assert correlation.abs().max() < 5 / math.sqrt(BATCH)
    neighbours = torch.stack([numbers[:-1].flatten(), numbers[1:].flatten()])
    assert torch.corrcoef(neighbours)[0, 1].abs() < 5 / math.sqrt(numbers.numel())


@pytest.mark.parametrize("entry", ["complex", "real", "count", "flag", "text", "seed"])
def test_every_entry_and_every_bit_of_it_makes_other_numbers(entry: str) -> None:
    obs: dict[str, Any] = {
        "complex": torch.ones(2, 3, dtype=torch.complex64),
        "real": torch.ones(2),
        "count": torch.ones(2, 2, dtype=torch.int64),
        "flag": torch.ones(2, 4, dtype=torch.bool),
        "text": ("fair", "fair"),
    }
    one, same = row_keys(obs)
    assert one == same
    changed = dict(obs)
    if entry == "text":
        changed["text"] = ("fair", "Fair")
    elif entry != "seed":
        changed[entry] = obs[entry].clone()
        changed[entry][1:].view(-1)[-1] = 1.0000001 if obs[entry].dtype.is_complex or obs[entry].dtype.is_floating_point else 0
    assert row_keys(changed, seed=int(entry == "seed"))[1] != same


@pytest.mark.parametrize("name", ["precoding", "detection", "channel_prediction"])
def test_a_row_alone_gets_the_action_it_gets_in_a_batch(name: str) -> None:
    task = make_task(name, scenario="uma-nlos-16", num_subcarriers=4, horizon=1)
    _, obs = task.reset(range(5), seed=1)
    agent = make_agent("random")
    together = agent.act(task.spec, obs)
    assert torch.equal(agent.act(task.spec, take(obs, [3])), together[3:4])


def test_the_floor_of_a_comparison_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def floor() -> float:
        table = wirelessgym.compare("precoding", ["random"], "rayleigh-32", 6, horizon=2, show=False, processes=1)
        return next(record for record in table.records if record.agent == "random").metrics["sum_rate"].mean

    whole = floor()
    monkeypatch.setattr("wirelessgym.evaluate.runner.MAX_BLOCK_EPISODES", 2)
    assert floor() == whole


def test_points_budgets_strengths_and_spreads_are_those_of_the_field() -> None:
    obs = {"seen": seen(), "power": torch.rand(BATCH) + 0.5, "past": 7 * torch.randn(BATCH, 5, dtype=torch.complex64)}
    points = acted(Field("guess", (2,), "complex64", "1", -9, 9, "", modulation="16qam"), **obs)
    index = (points[..., None] - constellation("16qam")).abs().argmin(-1)
    assert torch.equal(constellation("16qam")[index], points)
    assert torch.bincount(index.flatten(), minlength=16).min() > 2 * BATCH / 16 * 0.75
    beams = acted(Field("beams", (4, 2), "complex64", "1", -9, 9, "", budget="power"), **obs)
    torch.testing.assert_close(beams.abs().square().sum((1, 2)), obs["power"])
    guess = acted(Field("guess", (6,), "complex64", "1", -9, 9, "", like="past"), **obs)
    assert guess.abs().square().mean() == pytest.approx(49, rel=0.05)
    ratios = acted(Field("ratios", (6,), "float32", "1", -100, 100, "", spread=3.0), **obs)
    assert ratios.std() == pytest.approx(3.0, rel=0.03)


def test_entries_of_one_action_are_independent() -> None:
    fields = [Field(name, (), "float32", "1", 0, 1, "") for name in ("one", "other")]
    action = acted(*fields, seen=seen())
    assert torch.corrcoef(torch.stack(list(action.values())))[0, 1].abs() < 5 / math.sqrt(BATCH)
