"""What is timed against what."""

import torch

from wirelessgym import bench


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
    monkeypatch.setattr(bench, "seconds", seconds)
    row = bench._instruction(backbone, "precoding", tokens=4, batch=64, repeats=3)
    assert timed == [True, False] * 3
    assert row.ratio == 1 and not row.met
