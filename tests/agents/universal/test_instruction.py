"""Instructions are written from the task: true numbers, the same words everywhere, short."""

from __future__ import annotations

import re

import pytest
from toy_task import Toy
from wirelessgym.agents.universal.instruction import instruction

from wirelessgym.registry import load_scenario, make_task

TASKS = ("precoding", "detection", "channel_prediction")


@pytest.mark.parametrize("name", TASKS)
def test_an_instruction_is_identifier_description_and_what_to_do(name: str) -> None:
    task = make_task(name, scenario="uma-nlos-64")
    identifier, description, wanted = instruction(task).split(" | ")
    assert identifier == name.replace("_", " ")
    for field in task.observation_fields:
        assert field.name.replace("_", " ") in description
    for field in task.action_fields:
        assert f"{field.name}[{'x'.join(map(str, field.shape))}]" in wanted


@pytest.mark.parametrize("name", ["precoding", "detection"])
def test_numbers_are_those_of_the_scenario(name: str) -> None:
    overrides = {"num_users": (2, 7), "carrier_frequency_hz": 3.5e9, "slot_duration_s": 0.25e-3}
    text = instruction(make_task(name, scenario="uma-nlos-32", **overrides))
    for words in ("2-7 users", "4x8 antennas", "3.5 GHz", "0.25 ms"):
        assert words in text
    assert "subcarrier" not in text, "a narrowband task uses the carrier alone"


def test_channel_prediction_tells_of_one_user_whatever_the_scenario_has() -> None:
    text = instruction(make_task("channel_prediction", scenario="uma-nlos-32", num_users=6, num_subcarriers=24))
    assert "1 user," in text
    assert "24 subcarriers" in text


def test_both_polarisations_are_counted() -> None:
    panel = {"panel": {"rows": 4, "columns": 4, "polarisation": "dual"}}
    assert "4x4x2 antennas" in instruction(make_task("precoding", scenario="uma-nlos-32", **panel))


@pytest.mark.parametrize("name", TASKS)
def test_what_episodes_draw_stays_out_so_that_one_instruction_holds_over_a_sweep(name: str) -> None:
    quiet, loud = (
        instruction(make_task(name, scenario="uma-nlos-32", snr_db=snr, csi_snr_db=snr, speed_kmh=speed))
        for snr, speed in ((20.0, 3.0), ((-5.0, 5.0), (30.0, 120.0)))
    )
    assert quiet == loud


@pytest.mark.parametrize("name", TASKS)
def test_only_numbers_change_with_the_scenario(name: str) -> None:
    texts = [instruction(make_task(name, scenario=s, num_users=5)) for s in ("uma-nlos-128", "umi-nlos-32", "cdl-c-32")]
    assert len({re.sub(r"[\d.\-]+", "", text) for text in texts}) == 1
    assert len(set(texts)) > 1


@pytest.mark.parametrize("name", TASKS)
def test_equal_settings_give_equal_words_and_tasks_differ(name: str) -> None:
    once, again = (instruction(make_task(name, scenario="uma-nlos-64")) for _ in range(2))
    assert once == again
    others = {instruction(make_task(other, scenario="uma-nlos-64")) for other in TASKS if other != name}
    assert once not in others


@pytest.mark.parametrize("name", TASKS)
def test_it_stays_short(name: str) -> None:
    text = instruction(make_task(name, scenario="uma-nlos-64"))
    tokens = re.findall(r"[^\W\d]+|\d|[^\w\s]", text)
    assert 40 <= len(tokens) <= 90, text


def test_a_new_task_gets_one_without_code_even_without_a_docstring() -> None:
    text = instruction(Toy(load_scenario("rayleigh-32"), two_entries=True))
    assert text.startswith("toy | ")
    assert "received[3] noisy symbols, noise power, mask, slot" in text
    assert text.endswith("Make nmse small: symbols[3], trust[3]")
