"""The committed records: readable, complete, in the README as they are, and equal to independent measurements within their error.

The reference values were measured with another implementation of the same methods on drops of its own.
"""

import importlib.util
import math
import re
from pathlib import Path

import pytest

from wirelessgym.evaluate import compare
from wirelessgym.record import read_records
from wirelessgym.report.tables import sections
from wirelessgym.report.verdict import verdict
from wirelessgym.train.config import Configuration
from wirelessgym.train.run_folder import begin

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = sorted(path for path in (ROOT / "records").iterdir() if any(path.glob("*--*.json")))

# bit/s/Hz at 10 dB, channels of unit power per user.
FOUR_USERS = {
    "uma-nlos-16": {"mrt": 7.2, "zf": 16.7, "rzf": 17.1, "wmmse": 17.4, "bound": 19.3},
    "uma-nlos-32": {"mrt": 10.8, "zf": 23.2, "rzf": 23.3, "wmmse": 23.3, "bound": 24.3},
    "uma-nlos-64": {"mrt": 13.1, "zf": 27.92, "rzf": 27.94, "wmmse": 27.94, "bound": 28.64},
    "uma-nlos-128": {"mrt": 17.3, "zf": 32.6, "rzf": 32.6, "wmmse": 32.6, "bound": 33.0},
}
EIGHT_USERS = {
    "uma-nlos-32": {"mrt": 12.6, "zf": 31.9, "rzf": 32.9, "wmmse": 33.7, "bound": 38.1},
    "uma-nlos-64": {"mrt": 16.3, "zf": 43.8, "rzf": 44.0, "wmmse": 44.2, "bound": 47.5},
}
# NMSE at 0, 5, 10, 15, 20 dB; four users, mean power of the sample normalised.
LMMSE = {"uma-nlos-32": (0.18, 0.069, 0.025, 0.009, 0.003), "uma-nlos-64": (0.092, 0.033, 0.011, 0.0035, 0.0011)}
# NMSE in dB at 10, 30, 50, 70, 100 km/h and 10 dB, 40 drops.
PREDICTION_DB = {
    "hold": (-9.4, -6.5, -3.4, -1.7, 1.2),
    "wiener": (-14.7, -10.3, -7.3, -5.4, -3.7),
    "ar": (-13.6, -9.4, -7.6, -5.8, -4.0),
    "ar_beamdelay": (-16.7, -13.8, -11.7, -9.5, -7.2),
    "bound": (-34.8, -31.3, -29.2, -27.0, -24.0),
}


def values(name, metric):
    """(scenario, agent, swept value) to (mean, half of the interval)."""
    found = {}
    for record in read_records(ROOT / "records" / name):
        value = record.metrics[metric]
        low, high = value.ci95
        swept = record.sweep.value if record.sweep else None
        found[record.scenario, record.agent, swept] = value.mean, (high - low) / 2
    return found


def script(name):
    """A script of the records' folder as a module, found beside it as Python finds a script's neighbours."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"records/{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "records")
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_record_is_sound_and_says_how_to_make_it_again(folder):
    records = read_records(folder)
    points = {(record.scenario, record.agent, record.sweep and record.sweep.value) for record in records}
    assert len(points) == len(records)  # none of another comparison
    for record in records:
        assert record.status == "ok"
        assert record.command.startswith(f"wirelessgym compare {record.task} ")
        assert f"--seed {record.seed}" in record.command
        assert record.provenance.git and not record.provenance.dirty


@pytest.fixture(scope="module")
def module():
    return script("update_readme")


@pytest.fixture
def folder(module, tmp_path, monkeypatch):
    """A comparison of three precoders as the generator sees it, in records/mine."""
    options = {"scenario": "rayleigh-32", "episodes": 8, "processes": 1, "progress": False, "show": False, "horizon": 1}
    compare("precoding", ["mrt", "zf", "rzf"], sweep="snr_db=0,10", out=tmp_path / "records" / "mine", **options)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path / "records" / "mine"


def test_a_document_says_a_tables_verdict_in_the_words_of_the_report(module, folder):
    (section,) = sections(read_records(folder))
    text = "Before.\n\n<!-- verdict: records/mine -->\n<!-- end of verdict -->\n\nAfter.\n"
    made = module.with_tables(text)
    assert made.startswith("Before.\n\n<!-- verdict: records/mine -->\n\n") and made.endswith(
        "\n\n<!-- end of verdict -->\n\nAfter.\n"
    )
    assert verdict(section) in made and "the best of the others" in made
    assert module.with_tables(made) == made


def test_records_without_a_verdict_are_refused_by_name(module, folder):
    for path in (folder / "records").glob("*.json"):
        path.write_text(re.sub(r'"standing": \{.*?\n  \}', '"standing": null', path.read_text(), flags=re.DOTALL))
    with pytest.raises(ValueError, match="Precoding on rayleigh-32, over SNR: no verdict"):
        module.with_tables("<!-- verdict: records/mine -->\n<!-- end of verdict -->\n")


def test_a_documents_table_may_be_shortened_and_says_what_it_leaves_out(module, folder):
    whole, chosen, short = (
        module.with_tables(f"<!-- table: records/mine{options} -->\n<!-- end of table -->\n")
        for options in ("", " agents=mrt,zf", " rows=3")
    )
    names = ["rzf", "zf", "mrt", "_random floor_", "_bound_"]
    assert re.findall(r"^\| (\w+(?: \w+)?) \|", whole, re.MULTILINE) == names
    assert "more agents" not in whole
    assert re.findall(r"^\| (\w+(?: \w+)?) \|", chosen, re.MULTILINE) == ["zf", "mrt", "_random floor_", "_bound_"]
    assert "1 more agent is in [the records](records/mine)." in chosen
    assert "**" not in chosen  # the best isn't shown
    assert re.findall(r"^\| (\w+(?: \w+)?) \|", short, re.MULTILINE) == ["rzf", "_random floor_", "_bound_"]
    with pytest.raises(ValueError, match="no row here is called 'nobody'; there are: rzf, zf, mrt"):
        module.with_tables("<!-- table: records/mine agents=nobody -->\n<!-- end of table -->\n")
    with pytest.raises(ValueError, match="rows: expected more than 2"):
        module.with_tables("<!-- table: records/mine rows=2 -->\n<!-- end of table -->\n")


def test_no_table_of_the_front_page_is_longer_than_ten_rows():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- table: .*?-->(.*?)<!-- end", text, re.DOTALL)
    assert blocks and all(len(re.findall(r"^\| ", block, re.MULTILINE)) - 2 <= 10 for block in blocks)


@pytest.mark.parametrize("document", ["README.md", "records/README.md"])
def test_tables_in_the_documents_are_those_of_the_records(module, document):
    text = (ROOT / document).read_text(encoding="utf-8")
    assert "<!-- table: " in text
    assert module.with_tables(text) == text


@pytest.mark.parametrize(("name", "expected"), [("precoding-four-users", FOUR_USERS), ("precoding-eight-users", EIGHT_USERS)])
def test_precoders_reach_the_rates_measured_elsewhere(name, expected):
    found = values(name, "sum_rate")
    for scenario, rates in expected.items():
        for agent, rate in rates.items():
            mean, half = found[scenario, agent, None]
            assert mean == pytest.approx(rate, abs=2 * half + 0.1), (scenario, agent)


def test_robust_wmmse_is_the_yardstick_under_noisy_csi():
    found = values("precoding-noisy-csi", "sum_rate")
    for agent, rate in {"wmmse": 25.3, "robust_wmmse": 27.0}.items():
        mean, half = found["uma-nlos-32", agent, None]
        assert mean == pytest.approx(rate, abs=2 * half + 0.1)


def test_lmmse_detection_has_the_errors_measured_elsewhere():
    found = values("detection-four-users", "nmse")
    for scenario, errors in LMMSE.items():
        for snr_db, error in zip((0, 5, 10, 15, 20), errors, strict=True):
            mean, half = found[scenario, "lmmse", snr_db]
            assert mean == pytest.approx(error, rel=0.1, abs=2 * half), (scenario, snr_db)


def test_soft_decisions_after_lmmse_beat_it_at_every_snr():
    found = values("detection-eight-users", "nmse")
    for snr_db in (0, 5, 10, 15, 20):
        assert found["uma-nlos-32", "lmmse_soft", snr_db][0] < found["uma-nlos-32", "lmmse", snr_db][0]


def test_predictors_have_the_errors_measured_elsewhere():
    found = values("prediction-speed", "nmse")
    for agent, errors_db in PREDICTION_DB.items():
        for speed, error_db in zip((10, 30, 50, 70, 100), errors_db, strict=True):
            mean, half = found["uma-nlos-128", agent, speed]
            # Both are means over drops: the reference has 40, so its interval is about 1.6 times as wide as that of 100.
            spread_db = 10 / math.log(10) * half / mean
            assert 10 * math.log10(mean) == pytest.approx(error_db, abs=0.1 + 2 * math.hypot(1, 1.6) * spread_db), (agent, speed)


def test_learning_curves_count_the_episodes_of_all_entries_of_a_task(tmp_path):
    curves = script("learning_curves")
    entries = {"precoding": 8, "precoding-2": 4, "detection": 2}
    tasks = [{"task": label.removesuffix("-2"), "batch": batch} for label, batch in entries.items()]
    config = Configuration(agent="rnn", steps=6, task_choice="round_robin", tasks=tasks)
    begin(tmp_path, config)
    lines = ["step,seconds,task,metric,value,episodes"]
    lines += [f"{step},{step},{label},nmse,{1 / (1 + step)},{99 * step}" for step in (0, 3, 6) for label in entries]
    (tmp_path / "validation.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = curves.curves_of("one", tmp_path)
    assert {name: curve["episodes"] for name, curve in found.items()} == {
        "one: precoding": [0, 12, 24],
        "one: detection": [0, 2, 4],
    }
    assert found["one: detection"]["values"] == [1.0, 0.25, pytest.approx(1 / 7)]
    assert "| one: precoding | precoding | 24 |" in curves.table(found)
    assert len(curves.picture(found).axes) == 2
