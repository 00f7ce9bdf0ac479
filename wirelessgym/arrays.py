"""Beam and delay coordinates of a planar array's OFDM channel: unitary Fourier transforms, in which few entries hold the energy.

Source: Yin, Wang, Liu, Gesbert, "Addressing the curse of mobility in massive MIMO with Prony-based angular-delay domain channel
predictions", IEEE J. Sel. Areas Commun. 38(12), 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_beams(h: Tensor, rows: int, columns: int, dim: int = -1) -> Tensor:
    """Two-dimensional unitary DFT over a panel's rows and columns.

    Args:
        h: complex64, with the antenna axis (index column * rows + row, the second polarisation
            after the whole first) at ``dim``.
        rows: rows of the panel.
        columns: columns of the panel.
        dim: the antenna axis.

    Returns:
        Same shape; energy is kept.
    """
    return _panel_transform(h, rows, columns, dim, inverse=False)


def from_beams(beams: Tensor, rows: int, columns: int, dim: int = -1) -> Tensor:
    """Undo `to_beams`."""
    return _panel_transform(beams, rows, columns, dim, inverse=True)


def _panel_transform(h: Tensor, rows: int, columns: int, dim: int, *, inverse: bool) -> Tensor:
    dim = dim % h.ndim
    grid = h.unflatten(dim, (-1, columns, rows))
    transform = torch.fft.ifft2 if inverse else torch.fft.fft2
    return transform(grid, dim=(dim + 1, dim + 2), norm="ortho").flatten(dim, dim + 2)


def to_delays(h: Tensor, dim: int = -1) -> Tensor:
    """Unitary inverse DFT over the subcarrier axis ``dim``: frequency to delay."""
    return torch.fft.ifft(h, dim=dim, norm="ortho")


def from_delays(h: Tensor, dim: int = -1) -> Tensor:
    """Undo `to_delays`."""
    return torch.fft.fft(h, dim=dim, norm="ortho")
