"""What decisions cost: every agent at both batch sizes, on paper and on screen."""

import json
import time

import pytest
from learned_agents import learned
from typer.testing import CliRunner

from wirelessgym import cost, make_task
from wirelessgym.cli import app
from wirelessgym.registry import load_scenario
from wirelessgym.toml import to_toml


@pytest.fixture
def two_agents(monkeypatch, tmp_path):
    network = learned("set_transformer", width=24, heads=2)
    network.weights(make_task("precoding", cost.SCENARIO))
    network.save(tmp_path / "trained", {"training": {"wall_time_s": 90.0}})
    monkeypatch.setattr(cost, "AGENTS", {"precoding": ("rzf", f'set_transformer:checkpoint="{tmp_path / "trained"}"')})
    monkeypatch.setattr(cost, "TARGETS_MS", {"rzf": 1e-3, "set_transformer": 1e5})
    older = load_scenario(cost.SCENARIO).with_overrides({"channel.spec_version": "16.1"}).model_dump(exclude_none=True)
    (tmp_path / "older.toml").write_text(to_toml(older))
    monkeypatch.setattr(cost, "SCENARIO", str(tmp_path / "older.toml"))


def test_costs_name_latency_and_weights_of_every_agent(two_agents, tmp_path, capsys):
    formula, network = cost.bench_decision(fast=True, out=tmp_path / "cost.json")
    assert (formula.parameters, formula.weights) == (0, 0)
    assert network.weights == network.parameters > 0
    assert formula.training_s is None and network.training_s == 90.0
    for found in (formula, network):
        assert found.memory_mb >= 0
        for p50, p95 in found.latency_ms.values():
            assert 0 < p50 <= p95
        assert set(found.processor_ms) == set(found.latency_ms) and min(found.processor_ms.values()) > 0
    shown = capsys.readouterr().out
    assert "rzf" in shown
    assert (formula.target_ms, network.target_ms) == (1e-3, 1e5)
    assert shown.count("missed") == shown.count(" met") == 1
    written = json.loads((tmp_path / "cost.json").read_text())
    assert [entry["agent"] for entry in written["costs"]] == ["rzf", "set_transformer"]
    assert written["provenance"]["hardware"] and written["provenance"]["spec_version"] == "16.1"


def test_a_file_for_another_bench_is_refused():
    result = CliRunner().invoke(app, ["bench", "channel", "--out", "x.json"])
    assert result.exit_code == 2 and "--out belongs to 'bench decision'" in result.output


def test_memory_grows_by_what_is_held_at_the_same_time():
    with cost._growth() as grown:
        held = bytearray(200_000_000)
        time.sleep(0.05)
        del held
    assert 180 < grown() < 300
