"""For task authors: what every task samples at the start of an episode: its name, its users, its signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wirelessgym.channel import Channel, Drop
from wirelessgym.channel.randomness import generators, integers, uniform
from wirelessgym.fields import Field
from wirelessgym.metrics import from_decibels
from wirelessgym.scenario import FloatSpan, Scenario, ScenarioError, span
from wirelessgym.task import State


@dataclass(frozen=True)
class Episodes:
    """A batch of fresh episodes.

    Attributes:
        seed: shape (batch,), int64.
        episode: shape (batch,), int64.
        present: which users take part, shape (batch, users), bool.
        drop: normalised drop.
        user_power: power per antenna of each user, expected over small-scale fading, shape (batch, users); its mean over the
            episode's slots where the scenario's normalisation is a realised one.
    """

    seed: Tensor
    episode: Tensor
    present: Tensor
    drop: Drop
    user_power: Tensor

    def mean_power(self) -> Tensor:
        """Mean of ``user_power`` over the users that take part, shape (batch,)."""
        return self.user_power.sum(-1) / self.present.sum(-1)


@dataclass(frozen=True)
class UsersState(State):
    """State of a task with several users.

    Attributes:
        drop: where the users are, and the rays of their channels.
        present: which users take part, shape (batch, users), bool.
        noise_power: at every receiver, shape (batch,), watt.
        csi_noise_power: variance of the error on each entry of the known channel, shape (batch,).
    """

    drop: Drop
    present: Tensor
    noise_power: Tensor
    csi_noise_power: Tensor


def sample_episodes(
    channel: Channel, episodes: Sequence[int], seed: int | Sequence[int], num_slots: int, first_slot: int = 0
) -> Episodes:
    """Sample episodes and normalise their channels; the slots that they last count where a realised power is asked for.

    Raises:
        ValueError: for no episodes, a number or seed that is no integer in [0, 2^63), or as many seeds as don't match.
    """
    named, numbers = episode_names(episodes, seed)
    present = _present(channel.scenario, channel.num_users, named, numbers)
    drop = channel.sample(named, numbers)
    drop, user_power = channel.normalised(drop, present, first_slot, num_slots)
    return Episodes(named, numbers, present, drop, user_power)


def episode_names(episodes: Sequence[int], seed: int | Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return seed and number of each row's episode, as a state keeps them, shape (batch,), int64, each.

    Raises:
        ValueError: for no episodes, a number or seed that is no integer in [0, 2^63), or as many seeds as don't match.
    """
    listed, seeds = np.asarray(episodes).tolist(), np.asarray(seed).tolist()
    if not isinstance(listed, list) or not listed or not all(map(_is_natural, listed)):
        raise ValueError(f"episodes: expected numbers from 0, at least one, got {episodes!r}")
    if not isinstance(seeds, list):
        seeds = [seeds] * len(listed)
    if len(seeds) != len(listed):
        raise ValueError(f"seed: expected one seed, or one for each of {len(listed)} episodes, got {len(seeds)}")
    if not all(map(_is_natural, seeds)):
        raise ValueError(f"seed: expected integers in [0, 2^63), got {seed!r}")
    return torch.tensor(seeds, dtype=torch.int64), torch.tensor(listed, dtype=torch.int64)


def _is_natural(number: Any) -> bool:
    return isinstance(number, int) and 0 <= number < 2**63


def _present(scenario: Scenario, num_users: int, seed: Tensor, episode: Tensor) -> Tensor:
    if num_users != scenario.max_users or not isinstance(scenario.num_users, tuple):
        return torch.ones(len(seed), num_users, dtype=torch.bool)
    low, high = scenario.num_users
    count = integers(low, high + 1, (), generators(seed, episode, "users"))
    return torch.arange(num_users) < count[:, None]


def sample_ratio(value_db: FloatSpan, episodes: Episodes, purpose: str) -> Tensor:
    """A power ratio given in dB, or sampled uniformly in dB from a range, as a linear number for each row, shape (batch,)."""
    low, high = span(value_db)
    if low == high:
        return torch.full((len(episodes.seed),), from_decibels(low))
    ratio_db = uniform((), generators(episodes.seed, episodes.episode, purpose), low, high)
    return torch.tensor([from_decibels(x) for x in ratio_db.tolist()])


def sample_noise_power(scenario: Scenario, episodes: Episodes, signal_power: Tensor) -> Tensor:
    """Noise power for a received signal power (batch,) and the scenario's SNR, or the power that the scenario fixes; watt."""
    if scenario.noise_power_dbw is not None:
        return torch.full_like(signal_power, from_decibels(scenario.noise_power_dbw))
    return signal_power / sample_ratio(scenario.snr_db, episodes, "snr")


def sample_csi_noise_power(scenario: Scenario, episodes: Episodes) -> Tensor:
    """Variance of the error on each channel entry, shape (batch,); 0 for perfect CSI."""
    if scenario.csi_snr_db is None:
        return torch.zeros(len(episodes.seed))
    return episodes.mean_power() / sample_ratio(scenario.csi_snr_db, episodes, "csi_snr")


def csi_fields(scenario: Scenario) -> list[Field]:
    """What else is told of the users' channels: the variance of their error, if any, and who takes part, if that varies."""
    fields = []
    if scenario.csi_snr_db is not None:
        fields.append(Field("csi_noise_power", (), "float32", "1", 0.0, 1e12, "variance of the error on each entry of csi"))
    if isinstance(scenario.num_users, tuple):
        fields.append(Field("mask", (scenario.max_users,), "bool", "1", 0, 1, "which users take part"))
    return fields


def require_single_antenna_users(task: str, scenario: Scenario) -> None:
    """Refuse a scenario in which users have several antennas, for a task that gives them one.

    Args:
        task: the task's id, for the error.
        scenario: the radio setting.

    Raises:
        ScenarioError: naming the task and the panel.
    """
    panel = scenario.user_panel
    if panel.num_antennas > 1:
        size = f"{panel.rows} x {panel.columns}{' x 2 polarisations' if panel.polarisation == 'dual' else ''}"
        raise ScenarioError(f"{task}: expected users with one antenna, got user_panel with {panel.num_antennas} ({size})")
