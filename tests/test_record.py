import json
import re
import subprocess

import pytest
from pydantic import ValidationError
from synthetic import record

from wirelessgym import provenance as module
from wirelessgym.record import RecordError, RecordSchemaError, Sweep, read_record, read_records, write_record


def test_a_record_survives_its_file_unchanged(tmp_path):
    written = record(sweep=Sweep(axis="panel.columns", value=8), notes=("a", "b"))
    path = write_record(written, tmp_path / "records")
    assert read_record(path) == written
    assert read_records(tmp_path) == read_records(tmp_path / "records") == [written]
    assert [p.name for p in (tmp_path / "records").iterdir()] == [written.filename]


def test_the_file_has_the_entries_of_the_contract(tmp_path):
    data = json.loads(record().to_json())
    wanted = "schema task scenario agent seed episodes metrics bound latency_s parameters provenance"
    assert set(wanted.split()) <= set(data) and data["schema"] == 1
    assert set(data["metrics"]["sum_rate"]) >= {"mean", "ci95", "unit"}
    wanted = "git dirty versions spec_version hardware wall_time_s"
    assert set(data["provenance"]) == set(wanted.split())


def test_entries_can_be_read_by_attribute_and_as_in_the_file():
    one = record()
    assert one["metrics"]["sum_rate"]["mean"] == one.metrics["sum_rate"].mean == one.value.mean
    assert one["schema"] == 1
    with pytest.raises(KeyError):
        one["schema_version"]


def test_another_schema_is_refused_with_both_versions(tmp_path):
    path = write_record(record(), tmp_path)
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 7'))
    with pytest.raises(RecordSchemaError, match="schema 7, this version of wirelessgym reads and writes schema 1"):
        read_record(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "expected an object with a 'schema' entry"),
        ('{"schema": 1}', r"task: field required; scenario: field required; agent: field required; and \d+ more$"),
        (record().to_json().replace('"seed"', '"sede"'), "sede"),
        (record().to_json().replace('"ok"', '"fine"'), "'ok' or 'failed'"),
    ],
)
def test_a_file_that_is_no_record_is_named_with_its_problem(tmp_path, text, message):
    path = tmp_path / "one.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=message) as caught:
        read_record(path)
    assert "one.json" in str(caught.value)


def test_a_folder_without_records_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no records in"):
        read_records(tmp_path)


def test_numbers_that_are_not_finite_do_not_get_into_a_record():
    with pytest.raises(ValidationError, match="finite"):
        record(bound=float("nan"))


def test_filenames_are_readable_safe_and_differ_with_every_setting():
    plain = record()
    assert re.fullmatch(r"precoding--uma-nlos-64--rzf--[0-9a-f]{8}\.json", plain.filename)
    others = [
        record(seed=8),
        record(episodes=10),
        record(task_options={"action": "structure"}),
        record(agent_options={"iterations": 3}),
        record(scenario_settings={"snr_db": 0.0}),
    ]
    assert len({one.filename for one in (plain, *others)}) == 6
    assert "/" not in record(agent="../../x:y", sweep=Sweep(axis="a", value=[1, 2])).filename


def test_provenance_names_the_commit_only_where_the_package_itself_is_tracked(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    package = tmp_path / "wirelessgym"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(module, "__file__", str(package / "record.py"))
    state = module.source_state.__wrapped__
    assert state() == (None, None)
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "somebody else's")
    assert state() == (None, None)
    git("add", ".")
    git("commit", "--quiet", "--message", "the package")
    commit, dirty = state()
    assert re.fullmatch("[0-9a-f]{40}", commit) and dirty is False
    (package / "new.py").write_text("")
    assert state() == (commit, True)


def test_versions_name_what_decides_about_results():
    needed = {"python", "torch", "sionna", "numpy", "scipy", "gymnasium", "wirelessgym"}
    assert needed <= set(module.versions()) <= needed | {"transformers", "peft"}


def test_a_record_holds_text_that_utf_8_cannot(tmp_path):
    written = record(status="failed", metrics={}, traceback="ValueError: \udcff", notes=("\ud800",))
    assert (written.traceback, written.notes) == ("ValueError: \\udcff", ("\\ud800",))
    assert read_record(write_record(written, tmp_path)) == written


def test_a_record_that_is_no_text_is_named(tmp_path):
    (tmp_path / "one.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match=r"record one\.json: not valid JSON"):
        read_record(tmp_path / "one.json")
