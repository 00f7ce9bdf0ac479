"""The channel layer: a scenario's rays, drawn per episode by Sionna, and their channel at any slot."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from wirelessgym.channel.randomness import generators, uniform
from wirelessgym.channel.rays import Rays
from wirelessgym.channel.synthesis import Grid, synthesise
from wirelessgym.scenario import Scenario

__all__ = ["Channel", "Grid", "Rays"]

_REFERENCE_SLOTS = 32


class Channel:
    """Draws the rays of episodes and turns them into ``H``.

    Args:
        scenario: the radio setting.
        num_users: size of the user axis.
        num_subcarriers: subcarriers to synthesise; 1 is the one at the carrier.
        subcarrier_spacing_hz: between them; the scenario's by default.
    """

    def __init__(
        self, scenario: Scenario, num_users: int, num_subcarriers: int, subcarrier_spacing_hz: float | None = None
    ) -> None:
        self.scenario = scenario
        self.num_users = num_users
        panel = scenario.panel
        planar = scenario.model[:3] not in ("tdl", "ray")
        self.grid = Grid(
            columns=panel.columns if planar else 1,
            rows=panel.rows if planar else 1,
            num_subcarriers=num_subcarriers,
            subcarrier_spacing_hz=subcarrier_spacing_hz or scenario.subcarrier_spacing_hz,
            slot_s=scenario.slot_duration_s,
        )

    @cached_property
    def _model(self) -> Any:
        """Sionna's model; built on first use because importing Sionna takes seconds."""
        with torch.random.fork_rng(devices=[]):  # the first import of Sionna reseeds torch's global generator
            from wirelessgym.channel import sionna_models, tapped

        if self.scenario.model.startswith("cdl"):
            return sionna_models.cdl_model(self.scenario)
        if self.scenario.model.startswith("tdl"):
            return tapped.tdl_model(self.scenario)
        return sionna_models.system_level_model(self.scenario)

    def draw(self, seed: Tensor, episode: Tensor) -> Rays:
        """Draw the rays of episodes, each from its own generator.

        Args:
            seed: shape (batch,), int64.
            episode: shape (batch,), int64.
        """
        rows = generators(seed, episode, "channel")
        if self.scenario.model == "rayleigh":
            from wirelessgym.channel.tapped import draw_rayleigh

            return draw_rayleigh(self.scenario, self.num_users, rows)
        if self.scenario.model.startswith("tdl"):
            from wirelessgym.channel.tapped import draw_tdl

            return draw_tdl(self._model, self.scenario, self.num_users, rows)
        model = self._model
        from wirelessgym.channel.clusters import to_rays
        from wirelessgym.channel.sionna_models import POLARISATION_SLANTS, draw_cdl, draw_system_level

        if self.scenario.model.startswith("cdl"):
            # A delay line fixes its angles, so users would lie on one another: each gets a bearing of its own in the sector
            # (TR 38.901, section 7.7.5.1 translates angles in the same way).
            bearing = uniform((self.num_users,), generators(seed, episode, "bearing"), -math.pi / 3, math.pi / 3)
            clusters = draw_cdl(model, self.num_users, rows, bearing)
        else:
            clusters = draw_system_level(model, self.scenario, self.num_users, rows)
        panel = self.scenario.panel
        return to_rays(clusters, panel, POLARISATION_SLANTS[panel.polarisation], self.scenario.carrier_frequency_hz)

    def response(self, rays: Rays, start_slot: Tensor, num_slots: int = 1) -> Tensor:
        """Return ``h`` of shape (batch, users, num_slots, antennas, subcarriers), complex64; see `synthesise`."""
        return synthesise(rays, self.grid, start_slot.double() * self.grid.slot_s, num_slots)

    def mean_power(self, rays: Rays, first_slot: int, num_slots: int) -> Tensor:
        """Mean power per antenna and subcarrier of each user over some slots, shape (batch, users), float32.

        Long spans are sampled at up to 32 slots, evenly spaced.
        """
        stride = -(-num_slots // _REFERENCE_SLOTS)
        grid = replace(self.grid, slot_s=self.grid.slot_s * stride)
        start_s = torch.full((len(rays.gain),), first_slot * self.grid.slot_s, dtype=torch.float64)
        h = synthesise(rays, grid, start_s, -(-num_slots // stride))
        return h.abs().square().mean(-1).mean(-1).mean(-1)  # axis by axis: the order of sums is fixed

    def normalised(self, rays: Rays, power: Tensor, present: Tensor) -> tuple[Rays, Tensor]:
        """Scale rays as the scenario's normalisation says.

        Args:
            rays: as drawn.
            power: their `mean_power` over the slots of the episode.
            present: which users take part, shape (batch, users), bool.

        Returns:
            The scaled rays, without those of absent users, and their mean power, shape (batch, users), float32.
        """
        if self.scenario.normalisation == "none":
            factor = torch.ones_like(power)
        elif self.scenario.normalisation == "user":
            factor = power.rsqrt()
        else:
            factor = ((power * present).sum(-1, keepdim=True) / present.sum(-1, keepdim=True)).rsqrt().expand_as(power)
        factor = factor * present
        return rays.scaled(factor), power * factor.square()
