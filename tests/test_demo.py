"""The demo, with few episodes: every baseline in one report."""

from dataclasses import replace

import pytest

from wirelessgym import demo
from wirelessgym.evaluate.sweep import parse_sweep
from wirelessgym.registry import agents_for, ids, task_class


@pytest.fixture
def short(monkeypatch):
    for task in ids("tasks"):
        if (shown := task_class(task).showcase) is not None:
            axis, values = parse_sweep(shown.sweep)
            monkeypatch.setattr(task_class(task), "showcase", replace(shown, episodes=4, sweep=f"{axis}={values[1]}"))


@pytest.fixture
def precoding_alone(short, monkeypatch):
    for task in set(ids("tasks")) - {"precoding"}:
        monkeypatch.setattr(task_class(task), "showcase", None)


def test_the_demo_compares_every_baseline_on_every_task_that_has_a_showcase_and_writes_one_report(short, tmp_path, capsys):
    assert demo.run_demo(tmp_path) == 0
    printed, page = capsys.readouterr().out, (tmp_path / "report.html").read_text()
    assert {"precoding", "detection", "channel_prediction"} <= set(demo.showcases())
    for task in demo.showcases():
        for agent in [*agents_for(task, unasked=True), demo.LEARNED]:
            assert agent in printed
            assert f">{agent}<" in page
        assert list((tmp_path / task / "records").glob("*.json"))
    assert (tmp_path / "report.html").as_uri() in printed


def test_without_the_language_model_the_demo_goes_on_and_says_why(precoding_alone, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WIRELESSGYM_MODELS", str(tmp_path / "nowhere"))
    monkeypatch.setattr("wirelessgym.agents.universal.model_store._package_folder", lambda source: None)
    assert demo.run_demo(tmp_path) == 0
    printed = capsys.readouterr().out
    assert "without the universal agent: " in printed and "wirelessgym models install smollm2-135m" in printed
    assert "rzf" in printed


def test_the_demo_says_with_its_exit_code_that_an_agent_failed(precoding_alone, tmp_path, monkeypatch):
    monkeypatch.setattr("wirelessgym.agents.mrt.unit_rows", lambda csi: 1 / 0)
    assert demo.run_demo(tmp_path) == 1
    assert "ZeroDivisionError" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("task", ids("tasks"))
def test_a_tasks_fallback_and_the_reference_of_its_showcase_are_agents_that_do_it(task):
    cls = task_class(task)
    assert cls.fallback_agent in agents_for(task)
    assert cls.showcase is None or cls.showcase.reference in agents_for(task)
