"""The demo, with few episodes: every baseline in one report."""

import dataclasses

import pytest

from wirelessgym import demo
from wirelessgym.registry import agents_for


@pytest.fixture
def short(monkeypatch):
    small = {"precoding": "csi_snr_db=10", "detection": "snr_db=0", "channel_prediction": "speed_kmh=30"}
    parts = [dataclasses.replace(part, episodes=4, sweep=small[part.task]) for part in demo.PARTS]
    monkeypatch.setattr(demo, "PARTS", parts)


def test_the_demo_compares_every_baseline_on_every_task_and_writes_one_report(short, tmp_path, capsys):
    assert demo.run_demo(tmp_path) == 0
    printed, page = capsys.readouterr().out, (tmp_path / "report.html").read_text()
    for task in ("precoding", "detection", "channel_prediction"):
        for agent in [*agents_for(task, unasked=True), demo.LEARNED]:
            assert agent in printed
            assert f">{agent}<" in page
        assert list((tmp_path / task / "records").glob("*.json"))
    assert (tmp_path / "report.html").as_uri() in printed


def test_without_the_language_model_the_demo_goes_on_and_says_why(short, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "PARTS", demo.PARTS[:1])
    monkeypatch.setenv("WIRELESSGYM_MODELS", str(tmp_path / "nowhere"))
    monkeypatch.setattr("wirelessgym.agents.universal.model_store._package_folder", lambda source: None)
    assert demo.run_demo(tmp_path) == 0
    printed = capsys.readouterr().out
    assert "without the universal agent: " in printed and "wirelessgym models install smollm2-135m" in printed
    assert "rzf" in printed


def test_the_demo_says_with_its_exit_code_that_an_agent_failed(short, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "PARTS", demo.PARTS[:1])
    monkeypatch.setattr("wirelessgym.agents.mrt.unit_rows", lambda csi: 1 / 0)
    assert demo.run_demo(tmp_path) == 1
    assert "ZeroDivisionError" in (tmp_path / "report.html").read_text()
