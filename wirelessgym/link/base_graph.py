"""Quasi-cyclic parity-check matrices of 5G NR's LDPC codes.

A parity-check matrix is a small base graph in which every entry stands for a Z x Z identity matrix whose columns are shifted
cyclically, or for zeros. Source: 3GPP TS 38.212 V18, sections 5.2.2 and 5.3.2; the shifts (tables 5.3.2-2 and 5.3.2-3) are read
from the files that Sionna brings along, without importing it.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

GraphNumber: TypeAlias = Literal[1, 2]

# Row n: the lifting sizes of set n, table 5.3.2-1.
LIFTING_SETS = tuple(tuple(a * 2**j for j in range(8) if a * 2**j <= 384) for a in (2, 3, 5, 7, 9, 11, 13, 15))
CORE_ROWS = 4  # rows whose parity bits depend on one another
_SHAPES: dict[int, tuple[int, int]] = {1: (46, 68), 2: (42, 52)}
_SYSTEMATIC_COLUMNS: dict[int, int] = {1: 22, 2: 10}


@dataclass(frozen=True)
class BaseGraph:
    """A base graph with its lifting size.

    Attributes:
        number: 1 or 2.
        lifting: Z, size of the cyclic blocks.
        shifts: of every block, shape (rows, columns), int64; -1 where the block is zero.
    """

    number: GraphNumber
    lifting: int
    shifts: np.ndarray[tuple[int, int], np.dtype[np.int64]] = field(repr=False, compare=False)

    @property
    def systematic_columns(self) -> int:
        """Columns that hold information (and filler) bits."""
        return _SYSTEMATIC_COLUMNS[self.number]

    @property
    def num_rows(self) -> int:
        """Rows of the base graph."""
        return int(self.shifts.shape[0])

    @property
    def num_columns(self) -> int:
        """Columns of the base graph."""
        return int(self.shifts.shape[1])

    def blocks(self, row: int) -> Iterator[tuple[int, int]]:
        """Column and shift of every block of a row that isn't zero."""
        for column in np.flatnonzero(self.shifts[row] >= 0):
            yield int(column), int(self.shifts[row, column])


def select_graph(payload_bits: int, rate: float) -> GraphNumber:
    """Which base graph a transport block uses (TS 38.212, section 7.2.2).

    Args:
        payload_bits: of the transport block, without CRC.
        rate: target code rate.
    """
    return 2 if payload_bits <= 292 or (payload_bits <= 3824 and rate <= 0.67) or rate <= 0.25 else 1


def lifting_size(number: GraphNumber, num_bits: int) -> int:
    """Smallest lifting size that holds a code block (TS 38.212, section 5.2.2).

    Raises:
        ValueError: for more bits than one code block of the graph holds.
    """
    columns = 22 if number == 1 else 10 if num_bits > 640 else 9 if num_bits > 560 else 8 if num_bits > 192 else 6
    sizes = [size for one_set in LIFTING_SETS for size in one_set if columns * size >= num_bits]
    if not sizes:
        raise ValueError(f"num_bits: one code block of base graph {number} holds up to {384 * columns}, got {num_bits}")
    return min(sizes)


@cache
def base_graph(number: GraphNumber, lifting: int) -> BaseGraph:
    """Return a base graph, its shifts reduced modulo the lifting size.

    Raises:
        FileNotFoundError: if Sionna's tables aren't where version 2.2 has them.
    """
    (which,) = (n for n, sizes in enumerate(LIFTING_SETS) if lifting in sizes)
    shifts = np.full(_SHAPES[number], -1, np.int64)
    row = 0
    with _table(number).open(newline="") as file:
        for cells in list(csv.reader(file, delimiter=";"))[2:]:
            row = int(cells[0]) if cells[0] else row
            shifts[row, int(cells[1])] = int(cells[2 + which]) % lifting
    return BaseGraph(number, lifting, shifts)


def _table(number: GraphNumber) -> Path:
    spec = importlib.util.find_spec("sionna")  # finds it; importing takes seconds
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "phy", "fec", "ldpc", "codes", f"5G_bg{number}.csv")
        if path.is_file():
            return path
    raise FileNotFoundError(f"phy/fec/ldpc/codes/5G_bg{number}.csv is not in the installed sionna; version 2.2 has it")
