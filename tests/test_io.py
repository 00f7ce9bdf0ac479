"""Files are there whole or not at all."""

import errno
import tomllib

import pytest

from wirelessgym.io import parse_toml, parse_toml_value, read_toml, write_atomically, write_text_atomically


def test_a_file_appears_whole_in_folders_made_as_needed(tmp_path):
    path = tmp_path / "a" / "b" / "one.txt"
    with write_atomically(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        partial.write_text("whole")
    assert path.read_text() == "whole" and [p.name for p in path.parent.iterdir()] == ["one.txt"]


def test_what_fails_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text_atomically(tmp_path / "one.txt", "old")
    with pytest.raises(ZeroDivisionError), write_atomically(path) as partial:
        partial.write_text("new")
        1 / 0  # noqa: B018
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_files_own_name(tmp_path):
    path = tmp_path / "one.txt"
    with pytest.raises(OSError, match="No space left on device") as caught, write_atomically(path) as partial:
        partial.write_text("some")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path) and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_told_with_the_files_own_name(tmp_path):
    (tmp_path / "taken").write_text("")
    for path in (tmp_path / "taken" / "one.txt", tmp_path / "taken" / "a" / "one.txt"):
        with pytest.raises(OSError) as caught:
            write_text_atomically(path, "")
        assert caught.value.filename in (str(tmp_path / "taken"), str(path.parent)) and "partial" not in str(caught.value)


def test_an_error_about_another_file_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, write_atomically(tmp_path / "one.txt"):
        (tmp_path / "away").read_text()
    assert caught.value.filename == str(tmp_path / "away")


@pytest.mark.parametrize("text", ["value = " + "[" * 5000, "value = " + "{a=" * 5000])
def test_toml_nested_too_deeply_is_no_toml(text):
    with pytest.raises(tomllib.TOMLDecodeError, match="nested too deeply"):
        parse_toml(text)


def test_numbers_too_long_for_python_and_bytes_that_are_no_text_are_no_toml(tmp_path):
    with pytest.raises(tomllib.TOMLDecodeError, match="4300 digits"):
        parse_toml("value = " + "9" * 5000)
    (tmp_path / "one.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(tomllib.TOMLDecodeError, match="not UTF-8"):
        read_toml(tmp_path / "one.toml")


def test_a_value_is_one_value():
    assert parse_toml_value("[1, 2]") == [1, 2]
    for text in ("1\nother = 2", "1\n[table]"):
        with pytest.raises(tomllib.TOMLDecodeError, match="expected one value, got more"):
            parse_toml_value(text)
