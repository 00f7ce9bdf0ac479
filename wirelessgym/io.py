"""Files: written whole or not at all, told apart by checksum, and TOML that can't take the program down."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def write_atomically(path: Path | str) -> Iterator[Path]:
    """Give a path to write to, which becomes ``path`` once the block has ended well; folders are made as needed.

    Readers see the old file or the new one, never a part, and a process that dies on the way, or a machine that loses power,
    leaves the old one.

    Yields:
        A path in the same folder, ending in ``.partial`` and this process's own, so that two may write the same file. It's
        removed if the block raises.

    Raises:
        OSError: if nothing can be written there, as on a full disk; it names ``path``.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _sync(partial)
        os.replace(partial, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(partial), partial):
            raise  # about something else that the block does
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # gone, or never there
            partial.unlink()


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; systems that can't open folders do without."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text_atomically(path: Path | str, text: str) -> Path:
    """Write ``text`` as UTF-8, whole or not at all; return the path."""
    with write_atomically(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
    return Path(path)


def sha256(path: Path) -> str:
    """Return a file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        tomllib.TOMLDecodeError: for what is no TOML, and for what the parser gives up on: brackets nested too deeply, numbers of
            thousands of digits.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError("nested too deeply") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:
        raise tomllib.TOMLDecodeError(str(error)) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        tomllib.TOMLDecodeError: as `parse_toml`, and for what is no UTF-8.
        OSError: for a file that can't be read.
    """
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise tomllib.TOMLDecodeError(f"not UTF-8: {error}") from None


def parse_toml_value(text: str) -> Any:
    """Parse one value as TOML writes it: ``3``, ``"beam"``, ``[1, 2]``.

    Raises:
        tomllib.TOMLDecodeError: for what is no value, or more than one.
    """
    table = parse_toml(f"value = {text}")
    if list(table) != ["value"]:
        raise tomllib.TOMLDecodeError(f"expected one value, got more: {', '.join(repr(key) for key in table if key != 'value')}")
    return table["value"]
