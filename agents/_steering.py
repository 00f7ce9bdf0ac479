"""Plane waves on a planar array: spectra on a grid of directions, and the block-Toeplitz covariances that they make.

A grid has (column points, row points) spatial frequencies in cycles per element, evenly from 0 to 1: its plane wave (p, q) is
``a[c, r] = exp(2 pi i (c p / P + r q / Q))``, with the antenna index ``c * rows + r``. Products with all plane waves are fast
Fourier transforms, so no matrix of them is ever formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Directions on a panel.

    Attributes:
        rows: of the panel.
        columns: of the panel.
        row_points: spatial frequencies along a column of elements, at least ``rows``.
        column_points: spatial frequencies along a row of elements, at least ``columns``.
    """

    rows: int
    columns: int
    row_points: int
    column_points: int

    @property
    def points(self) -> tuple[int, int]:
        """Shape of a spectrum."""
        return self.column_points, self.row_points

    def correlations(self, x: Tensor) -> Tensor:
        """``a^H x`` for every plane wave a: (..., rows * columns), complex, to (..., column points, row points)."""
        return torch.fft.fft2(x.unflatten(-1, (self.columns, self.rows)), s=self.points)

    def covariance(self, spectrum: Tensor) -> Tensor:
        """``sum of s a a^H`` over all plane waves: (..., column points, row points), float, to (..., n, n), complex.

        Entry (i, j) depends on the difference of the antennas' places only; it's the spectrum's inverse Fourier transform there.
        """
        by_lag = torch.fft.ifft2(spectrum, norm="forward").flatten(-2)
        return by_lag[..., self._lags(spectrum.device)]

    def quadratic_forms(self, matrix: Tensor) -> Tensor:
        """``a^H M a`` for every plane wave a and Hermitian M: (..., n, n), complex, to (..., column points, row points), real."""
        lags = self._lags(matrix.device).flatten()
        by_lag = torch.zeros(*matrix.shape[:-2], self.column_points * self.row_points, dtype=matrix.dtype, device=matrix.device)
        by_lag = by_lag.index_add(-1, lags, matrix.flatten(-2))
        return torch.fft.fft2(by_lag.unflatten(-1, self.points)).real

    def _lags(self, device: torch.device) -> Tensor:
        """Where the inverse transform has the lag from antenna j to antenna i, shape (n, n); lags wrap, as plane waves do."""
        index = torch.arange(self.rows * self.columns, device=device)
        column, row = index // self.rows, index % self.rows
        across = (column[:, None] - column) % self.column_points
        return across * self.row_points + (row[:, None] - row) % self.row_points
