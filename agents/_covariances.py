"""Kinds of covariances that the components of a mixture may have, and how each is estimated.

Each kind maps a weighted sample covariance to parameters (a dict of real tensors, one row per component) and those to covariances
of beams, see `wirelessgym.arrays.to_beams`. An estimate never makes the weighted samples less likely than the one before.

Sources: Koller, Fesl, Turan, Utschick, "An asymptotically MSE-optimal estimator based on Gaussian mixture models", IEEE Trans.
Signal Process. 70, 2022 (arXiv 2111.11064), section IV, for all three; Fesl, Joham, Hu, Koller, Turan, Utschick, "Channel
estimation based on Gaussian mixture models with structured covariances", 2022 (arXiv 2205.03634), for block-Toeplitz ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from wirelessgym.arrays import from_beams, to_beams

from ._steering import Grid

Parameters: TypeAlias = dict[str, Tensor]

FLOOR = 1e-3  # of a channel's mean power per entry: variance that no direction goes without


class Covariances(ABC):
    """A kind of covariance."""

    @abstractmethod
    def estimated(self, sample: Tensor, before: Parameters | None) -> Parameters:
        """Return parameters that make channels of a sample covariance likelier than those of ``before``, or a first guess.

        Args:
            sample: of beams, shape (components, n, n), complex64; not singular.
            before: parameters of the iteration before.
        """

    @abstractmethod
    def matrices(self, parameters: Parameters) -> Tensor:
        """Return the covariances of beams, shape (components, n, n), complex64."""


@dataclass(frozen=True)
class Full(Covariances):
    """Any covariance. Parameter ``factor``: a triangular root, shape (components, n, n, 2), which half precision may round."""

    def estimated(self, sample: Tensor, before: Parameters | None) -> Parameters:
        """The sample covariance itself is likeliest."""
        return {"factor": torch.view_as_real(torch.linalg.cholesky(sample))}

    def matrices(self, parameters: Parameters) -> Tensor:
        """See `Covariances.matrices`."""
        factor = torch.view_as_complex(parameters["factor"].float().contiguous())
        return factor @ factor.mH


@dataclass(frozen=True)
class Toeplitz(Covariances):
    """Covariances of independent plane waves on a planar array, the same between all antennas at the same distance.

    Parameter ``spectrum``: powers of the waves on a grid of directions, shape (components, column points, row points). It says
    the covariance on any array with that spacing.

    Attributes:
        grid: directions, and the array.
        turns: of the search for the spectrum, per estimate. Each is the minorise-maximise step of `dictionary_wmmse`.
    """

    grid: Grid
    turns: int = 4

    def estimated(self, sample: Tensor, before: Parameters | None) -> Parameters:
        """See `Covariances.estimated`."""
        grid = self.grid
        sample = _from_beams_both(sample, grid.rows, grid.columns)
        if before is None:
            power = sample.diagonal(dim1=-2, dim2=-1).real.mean(-1) / (grid.row_points * grid.column_points)
            spectrum = power[:, None, None].expand(-1, *grid.points)
        else:
            spectrum = before["spectrum"]
        tiny = torch.finfo(spectrum.dtype).tiny
        for _ in range(self.turns):
            inverse = torch.linalg.inv(self._on_array(spectrum, grid))
            heard, expected = grid.quadratic_forms(inverse @ sample @ inverse), grid.quadratic_forms(inverse)
            spectrum = spectrum * (heard.clamp_min(0) / expected.clamp_min(tiny)).sqrt()
        return {"spectrum": spectrum}

    def matrices(self, parameters: Parameters) -> Tensor:
        """See `Covariances.matrices`."""
        return _to_beams_both(self._on_array(parameters["spectrum"].float(), self.grid), self.grid.rows, self.grid.columns)

    def _on_array(self, spectrum: Tensor, grid: Grid) -> Tensor:
        covariance = grid.covariance(spectrum)
        return covariance + FLOOR * torch.eye(covariance.shape[-1], dtype=covariance.dtype)


@dataclass(frozen=True)
class Kronecker(Covariances):
    """Kronecker products of a covariance of the columns and one of the rows.

    Parameters ``columns`` and ``rows``: shapes (components, columns, columns, 2) and (components, rows, rows, 2). Estimated by
    turns, each given the other: Dutilleul, "The MLE algorithm for the matrix normal distribution", J. Stat. Comput. Simul. 64(2),
    1999.

    Attributes:
        num_rows: of the array.
        num_columns: of the array.
        turns: of the search, per estimate.
    """

    num_rows: int
    num_columns: int
    turns: int = 2

    def estimated(self, sample: Tensor, before: Parameters | None) -> Parameters:
        """See `Covariances.estimated`."""
        c, r = self.num_columns, self.num_rows
        blocks = sample.reshape(-1, c, r, c, r)
        rows = _complex(before["rows"]) if before else torch.eye(r, dtype=sample.dtype).expand(len(sample), -1, -1)
        for _ in range(self.turns):
            columns = torch.einsum("kcrds,ksr->kcd", blocks, torch.linalg.inv(rows)) / r
            rows = torch.einsum("kcrds,kdc->krs", blocks, torch.linalg.inv(columns)) / c
        return {"columns": torch.view_as_real(columns), "rows": torch.view_as_real(rows.contiguous())}

    def matrices(self, parameters: Parameters) -> Tensor:
        """See `Covariances.matrices`."""
        columns, rows = _complex(parameters["columns"]), _complex(parameters["rows"])
        size = self.num_columns * self.num_rows
        return torch.einsum("kcd,krs->kcrds", columns, rows).reshape(-1, size, size)


def _complex(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.float().contiguous())


def _to_beams_both(covariance: Tensor, rows: int, columns: int) -> Tensor:
    """Covariance of antennas to that of their beams."""
    return to_beams(to_beams(covariance, rows, columns, -2).mH, rows, columns, -2).mH.contiguous()


def _from_beams_both(covariance: Tensor, rows: int, columns: int) -> Tensor:
    """Undo `_to_beams_both`."""
    return from_beams(from_beams(covariance, rows, columns, -2).mH, rows, columns, -2).mH.contiguous()
