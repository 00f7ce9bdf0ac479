"""The channel layer: episodes' drops, sampled by the scenario's kind of channel, and their channel at any slot."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from wirelessgym.channel.drop import Drop
from wirelessgym.channel.kind import ChannelKind
from wirelessgym.channel.rays import Rays
from wirelessgym.channel.synthesis import Grid, synthesise
from wirelessgym.scenario import Scenario

__all__ = ["Channel", "ChannelKind", "Drop", "Grid", "Rays"]

_REFERENCE_SLOTS = 32


class Channel:
    """Samples the drops of episodes and turns their rays into ``h``.

    Args:
        scenario: the radio setting.
        num_users: size of the user axis.
        num_subcarriers: subcarriers to synthesise; 1 is the one at the carrier.
        subcarrier_spacing_hz: between them; the scenario's by default.

    Raises:
        TypeError: for a scenario whose channel can't be sampled.
    """

    def __init__(
        self, scenario: Scenario, num_users: int, num_subcarriers: int, subcarrier_spacing_hz: float | None = None
    ) -> None:
        if not isinstance(scenario.channel, ChannelKind):
            raise TypeError(f"channel: expected a ChannelKind, got {type(scenario.channel).__name__}")
        self.scenario, self.kind = scenario, scenario.channel
        self.num_users = num_users
        self.grid = Grid(
            columns=scenario.panel.columns if self.kind.planar else 1,
            rows=scenario.panel.rows if self.kind.planar else 1,
            num_subcarriers=num_subcarriers,
            subcarrier_spacing_hz=subcarrier_spacing_hz or scenario.subcarrier_spacing_hz,
            slot_s=scenario.slot_duration_s,
        )

    @cached_property
    def _prepared(self) -> Any:
        """What the kind builds once; on first use, because that may import Sionna, which takes seconds."""
        with torch.random.fork_rng(devices=[]):  # the first import of Sionna reseeds torch's global generator
            return self.kind.prepare(self.scenario)

    def sample(self, seed: Tensor, episode: Tensor) -> Drop:
        """Sample the drops of episodes, each from generators of its own.

        Args:
            seed: shape (batch,), int64.
            episode: shape (batch,), int64.
        """
        return self.kind.sample(self.scenario, self._prepared, self.num_users, seed, episode)

    def response(self, drop: Drop, start_slot: Tensor, num_slots: int = 1) -> Tensor:
        """Return ``h`` of shape (batch, users, num_slots, rx, tx, subcarriers), complex64; see `synthesise`."""
        return synthesise(drop.rays, self.grid, start_slot.double() * self.grid.slot_s, num_slots)

    def realised_power(self, drop: Drop, first_slot: int, num_slots: int) -> Tensor:
        """Mean power per pair of antennas and subcarrier of each user over some slots, shape (batch, users), float32.

        Long spans are sampled at up to 32 slots, evenly spaced.
        """
        stride = -(-num_slots // _REFERENCE_SLOTS)
        grid = replace(self.grid, slot_s=self.grid.slot_s * stride)
        start_s = torch.full((len(drop.rays.gain),), first_slot * self.grid.slot_s, dtype=torch.float64)
        h = synthesise(drop.rays, grid, start_s, -(-num_slots // stride))
        return h.abs().square().mean(-1).mean(-1).mean(-1).mean(-1)  # axis by axis: the order of sums is fixed

    def normalised(self, drop: Drop, present: Tensor, first_slot: int, num_slots: int) -> tuple[Drop, Tensor]:
        """Scale a drop as the scenario's normalisation says.

        Args:
            drop: as sampled.
            present: which users take part, shape (batch, users), bool.
            first_slot: of the episode; its slots are looked at only where the normalisation is a realised one.
            num_slots: of the episode.

        Returns:
            The scaled drop, in which absent users have no channel, and its power per pair of antennas by the same convention,
            expected or realised, shape (batch, users), float32.
        """
        whose, _, realised = self.scenario.normalisation.partition("-")
        power = self.realised_power(drop, first_slot, num_slots) if realised else self.kind.expected_power(drop)
        if whose == "none":
            factor = torch.ones_like(power)
        elif whose == "user":
            factor = power.rsqrt()
        else:
            factor = ((power * present).sum(-1, keepdim=True) / present.sum(-1, keepdim=True)).rsqrt().expand_as(power)
        factor = factor * present
        return drop.scaled(factor), power * factor.square()
