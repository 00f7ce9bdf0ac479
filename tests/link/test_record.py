"""The record of abstraction against codewords says what records/README.md says of it."""

import json
from pathlib import Path

import pytest

RECORD = json.loads((Path(__file__).parents[2] / "records" / "link-abstraction.json").read_text(encoding="utf-8"))


def test_it_has_all_schemes_on_all_channels_with_intervals():
    assert len(RECORD["lines"]) == 30
    assert RECORD["command"] == "python records/link_abstraction.py"
    for line in RECORD["lines"]:
        for mean, low, high in line["difference"].values():
            assert low < mean < high


@pytest.mark.parametrize("line", RECORD["lines"], ids=lambda line: f"{line['setting']}, MCS {line['mcs']}")
def test_the_two_are_as_close_as_stated(line):
    assert -0.043 < line["difference"]["bler"][0] < 0.02
    assert (line["difference"]["bler"][0] > 0) == (line["mcs"] == 25)
    assert -0.02 < line["difference"]["goodput"][0] / line["ldpc"]["goodput"] < 0.05
