"""The search of the fit finds even odds from far away, and its file stays readable."""

import json

import pytest

from wirelessgym.link.fit import _written, even_odds, main, simulate
from wirelessgym.link.ldpc import code_for
from wirelessgym.link.mcs import MCS_TABLE


@pytest.mark.parametrize("off_db", [-6.0, 0.0, 5.0])
def test_even_odds_are_found_from_any_guess(off_db, generator, monkeypatch):
    centre = 3.0
    monkeypatch.setattr("wirelessgym.link.fit.simulate", lambda code, sinr_db, *rest: 32 if sinr_db < centre else 0)
    assert even_odds(code_for(MCS_TABLE[3], 672), centre + off_db, 1, generator) == pytest.approx(centre, abs=0.15)


def test_blocks_are_lost_below_and_arrive_above(generator):
    code = code_for(MCS_TABLE[4], 672)
    assert simulate(code, -6.0, 1, 8, generator) == 8
    assert simulate(code, 2.0, 1, 8, generator) == 0
    assert simulate(code, -3.5, 2, 8, generator) == 0


def test_a_written_table_reads_back_with_lists_on_one_line():
    table = {"tables": {"672": {"2 x 251/1024": {"mu_db": [-2.5, 3.0, 1], "sigma_db": [0.5]}}}}
    text = _written(table)
    assert json.loads(text) == table
    assert '"mu_db": [-2.5, 3.0, 1]' in text


def test_the_command_fits_anew_unless_it_is_told_to_continue(tmp_path, monkeypatch):
    fitted = []

    def fit_scheme(scheme, *settings):
        fitted.append(scheme)
        return {"mu_db": [0.0], "sigma_db": [1.0]}

    monkeypatch.setattr("wirelessgym.link.fit.fit_scheme", fit_scheme)
    monkeypatch.setattr("wirelessgym.link.fit._jobs", lambda: iter([(MCS_TABLE[3], 4), (MCS_TABLE[4], 4)]))

    def command(*words):
        monkeypatch.setattr("sys.argv", ["fit", "--out", str(tmp_path / "table.json"), *words])
        main()
        return len(fitted)

    assert [command(), command(), command("--continue")] == [2, 4, 4]
    with pytest.raises(SystemExit):
        command("--continue", "--blocks", "7")
