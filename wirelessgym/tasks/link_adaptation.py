"""Link adaptation: pick the coding scheme of the next slot from an old report and the last acknowledgement.

A base station sends to one user through its strongest beam, over the whole band of the scenario. In every slot the agent picks a
modulation and coding scheme (MCS). What isn't decoded is sent again, by incremental redundancy, in the slot that follows, until
it is or four transmissions are spent. The user reports the quality of its channel (CQI); the report is some slots old when it
arrives.

Source: 3GPP TS 38.214, section 5.1.3 (MCS tables) and 5.2.2.1 (CQI); HARQ with redundancy versions 0, 2, 3, 1: TS 38.212, section
5.4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field as Bounds
from torch import Tensor

from wirelessgym.channel import Channel, Rays
from wirelessgym.channel.beams import through_strongest_beam
from wirelessgym.channel.randomness import complex_normal, generators, integers, uniform
from wirelessgym.channel.synthesis import synthesise
from wirelessgym.episodes import sample_episodes, sample_noise_power
from wirelessgym.fields import Action, Field, Obs, take
from wirelessgym.images import Image, as_image, new_figure
from wirelessgym.link.abstraction import CQI_TARGET, Curves, cqi_curves, curves, effective_sinr_db, exponential_mean, phi
from wirelessgym.link.harq import block_size, buffer_size, transmit
from wirelessgym.link.mcs import HIGHEST_MCS, LOWEST_MCS
from wirelessgym.metrics import Metric, from_decibels
from wirelessgym.task import State, Step, Task

_ROWS, _SLOTS = 32, 256  # whose channel is synthesised at once


@dataclass(frozen=True)
class LinkState(State):
    """State of `LinkAdaptation`, beside what `State` holds. What comes by itself stands for every slot of the episode.

    Attributes:
        rays: of the beam's channel, scaled such that ``|h|^2``, summed over the user's antennas, is the SINR.
        fading: mean over the band of ``exp(-SINR / beta)``, shape (batch, slots, MCS), float32; see `effective_sinr_db`.
        reports: CQI that arrives in each slot, shape (batch, slots), int64.
        coins: uniform numbers that decide whether a block is decoded, shape (batch, slots), float32.
        transmissions: of the block under way, 0 where a new one comes, shape (batch,), int64.
        last_mcs: of the last slot, -1 in the first, shape (batch,), int64.
        feedback: 1 for ACK, 0 for NACK, -1 in the first slot, shape (batch,), int64.
        collected: sum of ``fading`` over the transmissions of the block under way, shape (batch,), float32.
        failure: probability that these weren't enough, 1 before the first, shape (batch,), float32.
        soft: soft bits of the block under way, shape (batch, bits), float32; of no bits with ``decoder="abstraction"``.
    """

    rays: Rays
    fading: Tensor
    reports: Tensor
    coins: Tensor
    transmissions: Tensor
    last_mcs: Tensor
    feedback: Tensor
    collected: Tensor
    failure: Tensor
    soft: Tensor


@dataclass(frozen=True)
class _Sent:
    """What became of a transmission, shape (batch,) each: the scheme used, its bits, whether they arrived, and HARQ's memory."""

    mcs: Tensor
    bits: Tensor
    decoded: Tensor
    collected: Tensor
    failure: Tensor
    soft: Tensor


@dataclass(frozen=True)
class LinkAdaptation(Task):
    """Deliver as many bits per resource element as possible.

    A retransmission keeps its MCS, whatever the action. Acknowledgements come at once and are never wrong. ``snr_db`` is the mean
    SINR through the beam, over time and band; the receiver knows its channel (``csi_snr_db`` is not used).

    Attributes:
        delay_slots: age of the report in slots.
        decoder: ``"abstraction"`` (fitted block error rates) or ``"ldpc"`` (real codewords; thousands of times slower).
        max_transmissions: of a block, before it is given up.
        resource_elements: of a slot, spread evenly over the scenario's subcarriers; block error rates are fitted for 672.
    """

    delay_slots: Annotated[int, Bounds(ge=0, le=64)] = 4
    decoder: Literal["abstraction", "ldpc"] = "abstraction"
    max_transmissions: Annotated[int, Bounds(ge=1, le=4)] = 4
    resource_elements: Annotated[int, Bounds(ge=1, le=10_000)] = 672

    id: ClassVar[str] = "link_adaptation"
    default_scenario: ClassVar[str] = "uma-nlos-1"
    differentiable: ClassVar[bool] = False
    open_loop: ClassVar[bool] = False  # a NACK brings the same packet back
    fallback_agent: ClassVar[str] = "fixed_mcs"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("goodput", "bit/RE", True, "acknowledged bits / resource elements", "definition"),
        Metric("bler", "1", False, "lost / all first transmissions", "3GPP TS 38.214, 5.2.2.1", ("first_lost", "first_sent")),
        Metric(
            "latency_slots",
            "slots",
            False,
            "slots from first transmission to the end of a block",
            "definition",
            ("spent", "ended"),
        ),
        Metric("residual_bler", "1", False, "blocks given up / blocks ended", "definition", ("given_up", "ended")),
    )

    def __post_init__(self) -> None:
        """See `Task.__post_init__`; also refuses sizes that no block error rates were fitted for."""
        super().__post_init__()
        curves(self.resource_elements)

    @cached_property
    def channel(self) -> Channel:
        """The channel of one user over the whole band."""
        return Channel(self.scenario, 1, self.scenario.num_subcarriers)

    @cached_property
    def curves(self) -> Curves:
        """Block error rates of MCS 3 to 28."""
        return curves(self.resource_elements)

    @property
    def seconds_per_step(self) -> float:
        """See `Task.seconds_per_step`: a codeword takes some four milliseconds."""
        return 4e-3 if self.decoder == "ldpc" else 0.0

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        """See `Task.observation_fields`."""
        return (
            Field("cqi", (), "int64", "1", 0, 15, "channel quality as reported some slots ago, 0 if out of range"),
            Field("feedback", (), "int64", "1", -1, 1, "of the last slot: 1 ACK, 0 NACK, -1 nothing yet"),
            Field("transmissions", (), "int64", "1", 0, 3, "of the block under way; above 0 it is sent again, with its MCS"),
            Field("last_mcs", (), "int64", "1", -1, HIGHEST_MCS, "MCS of the last slot, -1 before the first"),
        )

    @property
    def action_fields(self) -> tuple[Field, ...]:
        """See `Task.action_fields`."""
        return (Field("mcs", (), "int64", "1", LOWEST_MCS, HIGHEST_MCS, "modulation and coding scheme of a new block"),)

    def reset(self, episodes: Sequence[int], seed: int | Sequence[int] = 0) -> tuple[LinkState, Obs]:
        """See `Task.reset`. The channel's quality is worked out for all slots here, so that steps are quick."""
        sampled = sample_episodes(self.channel, episodes, seed, self.horizon)
        rays, power = through_strongest_beam(sampled.drop.rays, self.channel.grid)
        tx_power = from_decibels(self.scenario.tx_power_dbw)
        noise_power = sample_noise_power(self.scenario, sampled, tx_power * power[:, 0])
        rays = rays.scaled((tx_power / noise_power).sqrt()[:, None])
        fading, reports = self._quality(rays)
        batch, zero, zeros = len(sampled.seed), torch.zeros_like(sampled.seed), torch.zeros(len(sampled.seed))
        state = LinkState(
            seed=sampled.seed,
            episode=sampled.episode,
            time_step=zero,
            rays=rays,
            fading=fading,
            reports=reports,
            coins=uniform((fading.shape[1],), generators(sampled.seed, sampled.episode, "coin")),
            transmissions=zero,
            last_mcs=zero - 1,
            feedback=zero - 1,
            collected=zeros,
            failure=zeros + 1,
            soft=torch.zeros(batch, buffer_size(self.resource_elements) if self.decoder == "ldpc" else 0),
        )
        return state, self._observe(state)

    def score(self, state: LinkState, action: Action) -> dict[str, Tensor]:
        """See `Task.score`: what comes of sending with ``mcs`` now.

        Raises:
            ValueError: also for an MCS below 3 or above 28.
        """
        return self._metrics(state, self._send(state, action))

    def advance(self, state: LinkState, action: Action | None = None) -> tuple[LinkState, Obs]:
        """See `Task.advance`: one slot. HARQ's memory keeps what was sent, a report leaves, an old one arrives.

        Raises:
            TypeError: also without an action.
        """
        if action is None:
            raise TypeError(f"{self.id}: what comes depends on the action, got None")
        return self._after(state, self._send(state, action))

    def step(self, state: LinkState, action: Action) -> tuple[LinkState, Step]:
        """See `Task.step`; sends once for both halves."""
        sent = self._send(state, action)
        metrics = self._metrics(state, sent)
        following, obs = self._after(state, sent)
        return following, Step(obs, self.reward(metrics), self.terminated(following), metrics)

    def block_error_rate(self, state: LinkState, transmissions: int = 1) -> Tensor:
        """Share of lost blocks of every MCS in the present slot, if all transmissions met its channel; shape (batch, MCS).

        For genies, losses and pictures: it reads the true state.
        """
        rows = torch.arange(len(state.seed), device=state.seed.device)
        now = effective_sinr_db(state.fading[rows, self._slot(state)], self.curves.beta)
        column = transmissions - 1
        return phi((self.curves.mu_db[:, column] - now) / self.curves.sigma_db[:, column])

    def render(self, state: LinkState, action: Action | None = None) -> Image:
        """See `Task.render`: the effective SINR of 64-QAM over the episode, and the block error rate of every MCS now."""
        first = take(state, slice(0, 1))
        figure, (quality, schemes) = new_figure(2)
        now = int(first.time_step[0])
        quality.plot(effective_sinr_db(first.fading[0, :, -1], self.curves.beta[-1]).numpy(), linewidth=1)
        quality.axvline(now, color="0.5", linewidth=1)
        quality.set(xlabel="slot", ylabel="effective SINR [dB]", title=f"slot {now}: CQI {int(self._observe(first)['cqi'][0])}")
        mcs = range(LOWEST_MCS, HIGHEST_MCS + 1)
        schemes.bar(mcs, self.block_error_rate(first)[0].numpy())
        if action is not None:
            chosen = action["mcs"] if isinstance(action, dict) else action
            schemes.axvline(int(chosen[0]), color="0.5", linewidth=1)
        schemes.set(xlabel="MCS", ylabel="block error rate", ylim=(0, 1))
        return as_image(figure)

    def _quality(self, rays: Rays) -> tuple[Tensor, Tensor]:
        """Fading and reports of all slots, a few rows and slots at a time: the channel itself would fill the memory."""
        batch, slots = len(rays.gain), self.horizon + 1
        fading, reports = torch.empty(batch, slots, len(self.curves.schemes)), torch.empty(batch, slots, dtype=torch.int64)
        for row in range(0, batch, _ROWS):
            rows = slice(row, row + _ROWS)
            for slot in range(0, slots, _SLOTS):
                count = min(_SLOTS, slots - slot)
                span, delay = slice(slot, slot + count), self.delay_slots
                sinr = self._sinr(take(rays, rows), slot - delay, count + delay)
                fading[rows, span] = exponential_mean(sinr[:, delay:], self.curves.beta)
                reports[rows, span] = self._report(sinr[:, :count])
        return fading, reports

    def _sinr(self, rays: Rays, first_slot: int | Tensor, num_slots: int) -> Tensor:
        """SINR on every subcarrier, shape (batch, slots, subcarriers), float32."""
        grid = replace(self.channel.grid, columns=1, rows=1)
        start_s = torch.zeros(len(rays.gain), dtype=torch.float64) + first_slot * grid.slot_s
        h = synthesise(rays, grid, start_s, num_slots)[:, 0, :, :, 0]  # (batch, slots, rx, subcarriers)
        return h.abs().square().sum(2)  # maximum-ratio combining

    def _report(self, sinr: Tensor) -> Tensor:
        """The highest CQI whose scheme would be received with block error rate 0.1; TS 38.214, section 5.2.2.1."""
        levels = cqi_curves(self.resource_elements)
        reached = effective_sinr_db(exponential_mean(sinr, levels.beta), levels.beta) >= levels.threshold_db(CQI_TARGET)
        return (reached * torch.arange(1, reached.shape[-1] + 1)).amax(-1)

    def _slot(self, state: LinkState) -> Tensor:
        """Where the present slot stands in the tables; beyond the horizon the channel stands still."""
        return state.time_step.clamp_max(self.horizon)

    def _now(self, state: LinkState) -> Tensor:
        """Where every row's present slot stands in a table of shape (batch, slots) laid out flat, shape (batch,), int64."""
        now: Tensor = torch.arange(len(state.seed), device=state.seed.device) * state.coins.shape[1] + self._slot(state)
        return now

    @cached_property
    def _parameters(self) -> Tensor:
        """mu, 1 / sigma, beta and bits of every scheme and number of transmissions, shape (4, MCS * transmissions)."""
        table = self.curves
        shape = table.mu_db.shape
        wide = (table.beta[:, None].expand(shape), table.bits[:, None].expand(shape).float())
        return torch.stack([table.mu_db, 1 / table.sigma_db, *wide]).flatten(1)

    def _send(self, state: LinkState, action: Action) -> _Sent:
        """Send once; a retransmission keeps its MCS."""
        self.check_state(state)
        chosen = self.check_action(action, len(state.seed))["mcs"]
        out_of_range = (chosen < LOWEST_MCS) | (chosen > HIGHEST_MCS)
        if out_of_range.any():
            row = int(out_of_range.nonzero()[0])
            raise ValueError(f"mcs: row {row}: expected {LOWEST_MCS} to {HIGHEST_MCS}, got {int(chosen[row])}")
        mcs = torch.where(state.transmissions > 0, state.last_mcs, chosen)
        scheme, now = mcs - LOWEST_MCS, self._now(state)
        most = self.curves.mu_db.shape[1]
        parameters = self._parameters.to(mcs.device)[:, scheme * most + state.transmissions]
        mu_db, per_sigma, beta, bits = parameters.unbind(0)
        collected = state.collected + state.fading.take(now * len(self.curves.schemes) + scheme)
        failure = phi((mu_db - effective_sinr_db(collected / (state.transmissions + 1), beta)) * per_sigma)
        failure = torch.minimum(failure, state.failure)  # more soft bits never hurt
        if self.decoder == "ldpc":
            decoded, soft = self._send_codewords(state, mcs)
        else:
            # What was lost before is lost again with probability failure / state.failure: together, with failure.
            decoded, soft = state.coins.take(now) * state.failure >= failure, state.soft
        return _Sent(mcs, bits, decoded, collected, failure, soft)

    def _send_codewords(self, state: LinkState, mcs: Tensor) -> tuple[Tensor, Tensor]:
        """Encode, fade, decode: which blocks arrived, and the soft buffers."""
        started = state.time_step - state.transmissions
        bits = integers(
            0, 2, (block_size(self.resource_elements),), generators(state.seed, state.episode, "bits", started)
        ).bool()
        noise = complex_normal((self.resource_elements,), generators(state.seed, state.episode, "noise", state.time_step))
        sinr = self._sinr(state.rays, self._slot(state), 1)[:, 0]
        return transmit(mcs, state.transmissions, bits, sinr, noise, state.soft)

    def _metrics(self, state: LinkState, sent: _Sent) -> dict[str, Tensor]:
        decoded = sent.decoded.float()
        first = (state.transmissions == 0).float()
        last = (state.transmissions == self.max_transmissions - 1).float()
        given_up = last * (1 - decoded)
        ended = decoded + given_up
        first_lost, spent = first * (1 - decoded), ended * (state.transmissions + 1)
        return {
            "goodput": decoded * sent.bits / self.resource_elements,
            "bler": first_lost,
            "latency_slots": spent,
            "residual_bler": given_up,
            "first_lost": first_lost,
            "first_sent": first,
            "spent": spent,
            "given_up": given_up,
            "ended": ended,
        }

    def _after(self, state: LinkState, sent: _Sent) -> tuple[LinkState, Obs]:
        spent = state.transmissions + 1
        ended = sent.decoded | (spent == self.max_transmissions)
        goes_on = (~ended).float()
        following = replace(
            state,
            time_step=state.time_step + 1,
            transmissions=spent * ~ended,
            last_mcs=sent.mcs,
            feedback=sent.decoded.long(),
            collected=sent.collected * goes_on,
            failure=torch.where(ended, 1.0, sent.failure),
            soft=sent.soft * goes_on[:, None] if self.decoder == "ldpc" else sent.soft,
        )
        return following, self._observe(following)

    def _observe(self, state: LinkState) -> Obs:
        return {
            "cqi": state.reports.take(self._now(state)),
            "feedback": state.feedback,
            "transmissions": state.transmissions,
            "last_mcs": state.last_mcs,
        }
