"""Shards: a comparison cut into parts for several machines that share nothing but a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One part of n: every n-th block of the comparison, counted over all its points.

    Attributes:
        index: which part, from 1 on.
        count: how many parts there are.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        """Refuse parts that there aren't; raises ValueError."""
        if not 1 <= self.index <= self.count:
            raise ValueError(f"shard: expected i/n with 1 <= i <= n, got {self.index}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``.

        Raises:
            ValueError: for something else.
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip()) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f"shard: expected i/n, such as 1/4, got {text!r}")
        return cls(int(found[1]), int(found[2]))

    def has(self, block: int) -> bool:
        """Whether a block, by its number from 0 on, belongs to this part."""
        return block % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
