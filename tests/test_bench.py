"""What is timed against what."""

import importlib

import pytest
import torch

from wirelessgym import bench
from wirelessgym.bench.subjects import instruction
from wirelessgym.registry import UnknownIdError, load_scenario


def test_a_subject_is_one_file_with_a_line_on_it_and_a_function():
    known = bench.available()
    assert set(known) >= {"channel", "env", "instruction", "decision"} and all(line.endswith(".") for line in known.values())


def test_an_unknown_subject_comes_with_a_suggestion():
    with pytest.raises(UnknownIdError, match=r"no subject of bench is called 'chanel'; did you mean 'channel'\?"):
        bench.run("chanel")


def test_without_arguments_those_by_default_are_timed(monkeypatch):
    timed = []
    for name in bench.available():
        module = importlib.import_module(f"wirelessgym.bench.subjects.{name}")
        monkeypatch.setattr(module, "bench", lambda fast, name=name: timed.append((name, fast)) or [name])
    assert bench.run(fast=True) == ["channel", "env", "link"] and timed == [(name, True) for name in ("channel", "env", "link")]
    assert bench.run("decision") == ["decision"]


def test_both_ways_of_reading_an_instruction_are_timed_equally_often(monkeypatch):
    timed = []

    class Backbone(torch.nn.Module):
        width, shared = 8, True

        def forward(self, words, data):
            return data

        def prompt_length(self, words):
            return len(words)

    def seconds(work, repeats):
        timed.extend([backbone.shared] * repeats)
        return 1.0

    backbone = Backbone()
    monkeypatch.setattr(instruction, "seconds", seconds)
    row = instruction._instruction(backbone, "precoding", tokens=4, batch=64, repeats=3)
    assert timed == [True, False] * 3
    assert row.ratio == 1 and not row.met


def test_the_closed_loop_has_rows_for_decoder_abstraction_and_environment(monkeypatch):
    from wirelessgym.bench.subjects import link

    monkeypatch.setattr(link, "POINTS", ((5, -0.6),))
    monkeypatch.setattr(link, "LINKS", 8)
    rows = link.bench(fast=True)
    assert [row.what.partition(",")[0] for row in rows[1:]] == [
        "link-steps per second",
        "VectorEnv / task",
        "VectorEnv.step / task.step",
        "VectorEnv.step / task.step",
        "VectorEnv.step and its infos / task.step",
    ]
    assert all(row.ratio > 0 for row in rows)
    assert [row.target for row in rows] == [4, 1, 1.1, 1.1, 1.1, None]


def test_whole_episodes_have_rows_against_sionnas_path_and_against_drops_left_to_sionna():
    from wirelessgym.bench.subjects import channel

    rows = [channel._whole_reset(load_scenario("uma-nlos-128"), batch=1, repeats=1), channel._precoding_reset(batch=2, repeats=1)]
    assert [row.what.partition(",")[0] for row in rows] == ["channel_prediction.reset", "precoding.reset"]
    assert [row.target for row in rows] == [12, 1.5] and all(row.ratio > 0 for row in rows)
