"""What decisions cost: every agent at both batch sizes, on paper and on screen."""

import json

import pytest
from typer.testing import CliRunner

from wirelessgym import cost
from wirelessgym.cli import app
from wirelessgym.registry import load_scenario
from wirelessgym.train.toml import to_toml


@pytest.fixture
def two_agents(monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "AGENTS", {"precoding": ("rzf", "set_transformer:width=24:heads=2")})
    older = load_scenario(cost.SCENARIO).with_overrides({"spec_version": "16.1"}).model_dump(exclude_none=True)
    (tmp_path / "older.toml").write_text(to_toml(older))
    monkeypatch.setattr(cost, "SCENARIO", str(tmp_path / "older.toml"))


def test_costs_name_latency_and_weights_of_every_agent(two_agents, tmp_path, capsys):
    formula, network = cost.bench_decision(fast=True, out=tmp_path / "cost.json")
    assert (formula.parameters, formula.weights_mb) == (0, 0)
    assert network.weights_mb == pytest.approx(4 * network.parameters / 1e6, abs=0.06)
    for found in (formula, network):
        for p50, p95 in found.latency_ms.values():
            assert 0 < p50 <= p95
    assert "rzf" in capsys.readouterr().out
    written = json.loads((tmp_path / "cost.json").read_text())
    assert [entry["agent"] for entry in written["costs"]] == ["rzf", "set_transformer"]
    assert written["provenance"]["hardware"] and written["provenance"]["spec_version"] == "16.1"


def test_a_file_for_another_bench_is_refused():
    result = CliRunner().invoke(app, ["bench", "channel", "--out", "x.json"])
    assert result.exit_code == 2 and "--out belongs to 'bench decision'" in result.output
