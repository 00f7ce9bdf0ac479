import json

import pytest
import torch

from wirelessgym.checkpoint import (
    CheckpointError,
    load_checkpoint,
    read_card,
    recover_folder,
    replace_folder,
    save_checkpoint,
    save_weights,
    tensors_digest,
)
from wirelessgym.io import sha256


@pytest.fixture
def saved(tmp_path):
    module = torch.nn.Linear(3, 2)
    return module, save_checkpoint(module, tmp_path / "outer" / "net")


def test_weights_come_back(saved):
    module, folder = saved
    other = torch.nn.Linear(3, 2)
    load_checkpoint(other, folder)
    assert torch.equal(other.weight, module.weight) and torch.equal(other.bias, module.bias)


def test_a_folder_holds_weights_and_a_card_with_their_checksum(saved):
    _, folder = saved
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "weights.safetensors"]
    card = read_card(folder)
    assert card["module"] == "Linear" and card["torch"] in torch.__version__
    assert card["sha256"] == sha256(folder / "weights.safetensors")


def test_the_card_keeps_what_the_caller_adds(tmp_path):
    folder = save_weights({"x": torch.ones(2)}, {"agent": "me", "options": {"width": 3}}, tmp_path)
    assert read_card(folder)["agent"] == "me" and read_card(folder)["options"] == {"width": 3}


@pytest.mark.parametrize("absent", ["card.json", "weights.safetensors"])
def test_a_missing_file_is_named_with_what_belongs_to_a_checkpoint(saved, absent):
    _, folder = saved
    (folder / absent).unlink()
    expected = rf"checkpoint: .*{absent} is missing; expected a folder with weights\.safetensors and card\.json"
    with pytest.raises(FileNotFoundError, match=expected):
        load_checkpoint(torch.nn.Linear(3, 2), folder)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_corrupt_checkpoint_is_refused_with_both_checksums_and_loads_nothing(saved, place):
    _, folder = saved
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)
    module = torch.nn.Linear(3, 2)
    before = module.weight.clone()
    with pytest.raises(
        CheckpointError, match=r"safetensors is corrupt, expected SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}; copy or train"
    ):
        load_checkpoint(module, folder)
    assert torch.equal(module.weight, before)


def test_a_card_of_another_schema_or_of_no_json_is_refused(saved):
    module, folder = saved
    card = read_card(folder)
    (folder / "card.json").write_text(json.dumps(card | {"schema": 7}))
    with pytest.raises(CheckpointError, match=r"card\.json: expected schema 1, got 7"):
        load_checkpoint(module, folder)
    (folder / "card.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"card\.json is not valid JSON"):
        load_checkpoint(module, folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", r"expected a JSON object, got \[\]"),
        ("null", "expected a JSON object, got null"),
        ('"card"', 'expected a JSON object, got "card"'),
        ('{"schema": 1, "options": [1]}', r"expected options as a JSON object, got \[1\]"),
        ("[" * 100_000, "is not valid JSON"),
    ],
)
def test_a_card_that_is_no_object_is_refused_in_words(saved, text, said):
    module, folder = saved
    (folder / "card.json").write_text(text)
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(module, folder)


def test_a_card_in_another_encoding_is_refused_in_words(saved):
    module, folder = saved
    (folder / "card.json").write_bytes(b'{"schema": 1, "name": "\xff\xfe"}')
    with pytest.raises(CheckpointError, match=r"card\.json is not valid JSON: .*can't decode"):
        load_checkpoint(module, folder)


@pytest.mark.parametrize("damage", [lambda data: data[:7], lambda data: b"\xff" * len(data), lambda data: data[:-3]])
def test_damaged_weights_are_refused_in_words_even_where_the_checksum_fits_them(saved, damage):
    module, folder = saved
    path = folder / "weights.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    card = read_card(folder) | {"sha256": sha256(path)}
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=r"weights\.safetensors holds no tensors that can be read"):
        load_checkpoint(module, folder)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "net"
    for content in ("one", "two"):
        with replace_folder(folder) as fresh:
            (fresh / content).write_text(content)
    with pytest.raises(ZeroDivisionError), replace_folder(folder) as fresh:
        (fresh / "three").write_text("half")
        1 / 0  # noqa: B018
    assert [path.name for path in folder.iterdir()] == ["two"]
    recover_folder(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_weights_of_another_module_are_refused(saved):
    _, folder = saved
    with pytest.raises(CheckpointError, match=r"weights of another module than Linear: .*size mismatch for weight"):
        load_checkpoint(torch.nn.Linear(4, 2), folder)


def test_a_digest_follows_names_and_contents_and_nothing_else():
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    assert tensors_digest(tensors) == tensors_digest(dict(reversed(tensors.items())))
    assert tensors_digest(tensors) != tensors_digest({"c": tensors["a"], "b": tensors["b"]})
    assert tensors_digest(tensors) != tensors_digest(tensors | {"a": tensors["a"] + 1e-6})
    assert tensors_digest({"a": tensors["a"].mT.contiguous().mT}) == tensors_digest({"a": tensors["a"]})
