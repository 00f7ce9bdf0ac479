"""Episodes drawn ahead of need, so that starting one costs little.

Drawing 32 episodes at once takes little longer than drawing one. An episode is a pure function of its seed and number,
so when it was drawn, and in whose company, changes nothing about it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from wirelessgym.fields import Obs, put, take
from wirelessgym.task import Task

AHEAD = 32  # episodes drawn in one call, at least


class EpisodePool:
    """The next episodes of some rows: row j plays episodes (seed of j, 0), (seed of j, 1), ...

    Args:
        task: draws the episodes.
        num_rows: rows that play.
    """

    def __init__(self, task: Task, num_rows: int) -> None:
        self._task = task
        self._seed = np.zeros(num_rows, np.int64)
        self._number = np.zeros(num_rows, np.int64)  # of the next episode to hand out
        # What is in stock: a row's episodes lie in one draw, from ``place`` on in steps of ``stride``.
        self._left = np.zeros(num_rows, np.int64)
        self._place = np.zeros(num_rows, np.int64)
        self._stride = np.zeros(num_rows, np.int64)
        self._draw = np.zeros(num_rows, np.int64)
        self._draws: dict[int, tuple[Any, Obs]] = {}
        self._count = 0

    def begin(self, rows: np.ndarray[Any, Any], seeds: np.ndarray[Any, Any]) -> None:
        """Let ``rows`` start over with ``seeds``, at episode number 0; both int64, same length."""
        self._seed[rows], self._number[rows], self._left[rows] = seeds, 0, 0

    def take(self, rows: np.ndarray[Any, Any], ahead: bool = True) -> tuple[Any, Obs]:
        """Return state and first observation of the next episode of each of ``rows``, in order.

        Args:
            rows: int64, no row twice.
            ahead: whether to draw more episodes than these when one of them has to be drawn.
        """
        if not self._left[rows].all():
            empty = np.flatnonzero(self._left == 0) if ahead else rows[self._left[rows] == 0]
            self._refill(empty, depth=-(-AHEAD // len(empty)) if ahead else 1)
        state, obs = self._collect(rows)
        self._number[rows] += 1
        self._place[rows] += self._stride[rows]
        self._left[rows] -= 1
        in_use = set(self._draw[self._left > 0].tolist())
        self._draws = {key: draw for key, draw in self._draws.items() if key in in_use}
        return state, obs

    def _refill(self, rows: np.ndarray[Any, Any], depth: int) -> None:
        numbers = self._number[rows] + np.arange(depth)[:, None]
        seeds = np.broadcast_to(self._seed[rows], numbers.shape)
        self._count += 1
        self._draws[self._count] = self._task.reset(numbers.ravel().tolist(), seed=seeds.ravel().tolist())
        self._draw[rows], self._left[rows] = self._count, depth
        self._place[rows], self._stride[rows] = np.arange(len(rows)), len(rows)

    def _collect(self, rows: np.ndarray[Any, Any]) -> tuple[Any, Obs]:
        draws, places = self._draw[rows], self._place[rows]
        state, obs = self._draws[int(draws[0])]
        if (draws == draws[0]).all() and np.array_equal(places, np.arange(len(state.seed))):
            return state, obs
        index = torch.from_numpy(np.where(draws == draws[0], places, 0))
        state, obs = take(state, index), take(obs, index)
        for draw in np.unique(draws[draws != draws[0]]).tolist():
            where, index = (torch.from_numpy(a) for a in (np.flatnonzero(draws == draw), places[draws == draw]))
            other_state, other_obs = self._draws[draw]
            state, obs = put(state, where, take(other_state, index)), put(obs, where, take(other_obs, index))
        return state, obs
