"""Seeds of a comparison: a number that everybody may know, or one that nobody can replay episodes with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from wirelessgym.learned import FIRST_TRAINING_SEED

SHORTEST = 16


@dataclass(frozen=True)
class SecretSeed:
    """A seed that records, tables and command lines name by a digest only.

    Both follow from a text by SHA-256, with different beginnings, so neither the digest nor the results tell the seed.

    Attributes:
        value: the seed.
        digest: what records say instead, ``sha256:`` and 16 hexadecimal digits.
    """

    value: int = field(repr=False)
    digest: str

    @classmethod
    def of(cls, text: str) -> SecretSeed:
        """Return the seed of a text, surrounding space aside.

        Raises:
            ValueError: for fewer than 16 characters: such a text is found by trying.
        """
        text = text.strip()
        if len(text) < SHORTEST:
            raise ValueError(
                f"secret seed: expected at least {SHORTEST} characters, which nobody can guess, got {len(text)}; "
                "`openssl rand -hex 32` writes some"
            )
        value = int.from_bytes(hashlib.sha256(f"wirelessgym seed {text}".encode()).digest()) % FIRST_TRAINING_SEED
        return cls(value, "sha256:" + hashlib.sha256(f"wirelessgym digest {text}".encode()).hexdigest()[:16])

    @classmethod
    def read(cls, path: Path | str) -> SecretSeed:
        """Return the seed of a file's text.

        Raises:
            ValueError: see `of`; the message names the file.
            OSError: for a file that can't be read.
        """
        try:
            return cls.of(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
