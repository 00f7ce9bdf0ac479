"""Cycle spinning: average an estimator that depends on the grid of its transform over shifts of that grid.

A ray between two bins leaks into both; half a bin further it fills one. Multiplying the channel by a linear phase over antennas
or subcarriers shifts all beams or delays.

Source: Coifman, Donoho, "Translation-invariant de-noising", in Wavelets and Statistics, Springer, 1995, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from wirelessgym.spec import TaskSpec


def spun(task: TaskSpec, csi: Tensor, predictor: Callable[[Tensor], Tensor], num_axes: int) -> Tensor:
    """Mean of the predictions over all combinations of no shift and half a bin along each of the axes, shifts undone.

    Args:
        task: whose panel and subcarriers name the axes: delays, columns and rows, in this order, those of one bin left out.
        csi: shape (batch, past, antennas, subcarriers), complex64.
        predictor: maps (batch, past, antennas, subcarriers) to (batch, future, antennas, subcarriers).
        num_axes: how many of the axes are shifted; it calls the predictor ``2 ** num_axes`` times.

    Returns:
        Shape (batch, future, antennas, subcarriers), complex64.
    """
    panel = task.scenario.panel
    antenna = torch.arange(task.scenario.num_antennas, device=csi.device)[:, None]
    subcarrier = torch.arange(task.scenario.num_subcarriers, device=csi.device)[None]
    places = (
        (subcarrier, task.scenario.num_subcarriers),
        (antenna // panel.rows % panel.columns, panel.columns),
        (antenna % panel.rows, panel.rows),
    )
    half_bins = [0.5 / size * place for place, size in places if size > 1][:num_axes]
    predictions = []
    for chosen in product((0.0, 1.0), repeat=len(half_bins)):
        cycles = sum((on * shift for on, shift in zip(chosen, half_bins, strict=True)), torch.zeros((), device=csi.device))
        phase = torch.polar(torch.ones_like(cycles), 2 * math.pi * cycles)
        predictions.append(predictor(csi * phase) * phase.conj())
    return torch.stack(predictions).mean(0)
