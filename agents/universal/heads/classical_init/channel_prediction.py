"""Channel prediction: estimate the Doppler spectrum of every strong beam-delay bin, and predict with the filter made for it.

A ray sits in few bins of beam and delay. It starts from a Doppler spectrum per bin from an iterative adaptive estimate over the
bin and its neighbours (which hold the same rays), and the Wiener predictor that belongs to it. The network reads the
strongest bins together, the backbone one token for each of the strongest among these, and corrects every bin's spectrum,
noise and prediction. Weak bins share one spectrum per episode. Bins are chosen per episode, so any panel and bandwidth
will do.

Source of the domain: Yin et al., IEEE J. Sel. Areas Commun. 38(12), 2020; of the spectra, see `_doppler`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

from ...._prediction import estimated_noise_power, from_bins, max_doppler_hz, num_future, to_bins
from .._layers import LEAST_NOISE, TINY, mlp, parts, zero_init
from ..base import Head
from ._doppler import FREQUENCIES, predict, predict_alike, spectra

CHANNELS = 128
BINS = 160  # that get a spectrum of their own
TOKENS = 40  # of them that the backbone reads
HIGHEST_DOPPLER = 0.13  # cycles per slot, at least: 100 km/h at 2.4 GHz and 0.5 ms is 0.111
DOPPLER_MARGIN = 1.15  # over the scenario's highest speed
LOSS_FLOOR = 0.003


@dataclass(frozen=True)
class Context:
    """What the decoder needs besides the backbone's output.

    Attributes:
        bins: of the whole observation, shape (batch, past, beams * delays), complex64.
        chosen: which of them are treated individually, shape (batch, BINS), int64.
        series: their values, shape (batch, BINS, past), complex64.
        spectrum: power of each frequency, shape (batch, BINS, FREQUENCIES), float32.
        noise_power: shape (batch,).
        features: shape (batch, BINS, CHANNELS).
    """

    bins: Tensor
    chosen: Tensor
    series: Tensor
    spectrum: Tensor
    noise_power: Tensor
    features: Tensor


class ChannelPredictionHead(Head):
    """Encoder and decoder of the channel prediction task. A token is one strong bin."""

    ordered = False
    mixed_precision = False  # matrices are inverted

    def __init__(self, task: TaskSpec, width: int) -> None:
        super().__init__(task, width)
        self.num_past, self.num_future = task.observation_fields[0].shape[0], num_future(task)
        features = FREQUENCIES + 2 * self.num_past + 2 + 12 + 8
        self.look = mlp(features, 256, CHANNELS)
        self.mix = _mixer()
        self.to_token = mlp(CHANNELS, 256, width)
        self.norm = torch.nn.LayerNorm(width)
        self.from_token = mlp(width, 256, CHANNELS)
        self.listen = torch.nn.MultiheadAttention(CHANNELS, 4, batch_first=True)
        self.listen_norm = torch.nn.LayerNorm(CHANNELS)
        self.mix_again = _mixer()
        self.correct = zero_init(torch.nn.Sequential(torch.nn.LayerNorm(CHANNELS), *mlp(CHANNELS, 256, FREQUENCIES + 2)))
        self.directly = zero_init(torch.nn.Sequential(torch.nn.LayerNorm(CHANNELS), *mlp(CHANNELS, 256, 2 * self.num_future)))

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, None, Context]:
        """Return a token for each of the strongest bins, shape (batch, TOKENS, width), strongest first, and all bins' start.

        Raises:
            ValueError: for other numbers of past and future slots than the head was built for.
        """
        if (slots := (obs["csi"].shape[1], num_future(task))) != (self.num_past, self.num_future):
            raise ValueError(
                f"the prediction head was built for {self.num_past} past and {self.num_future} future slots, got {slots}"
            )
        with torch.no_grad():
            grid = to_bins(task, obs["csi"])
            noise_power = obs["noise_power"] if "noise_power" in obs else estimated_noise_power(grid).float()
            noise_power = torch.maximum(noise_power, LEAST_NOISE * grid.abs().square().flatten(1).mean(-1))
            bins = grid.flatten(2)
            power = bins.abs().square().mean(1)
            chosen = power.topk(min(BINS, power.shape[-1]), -1).indices
            shape = _grid_shape(task)
            neighbours = _neighbours(chosen, shape)
            snapshots = bins.transpose(1, 2).gather(1, neighbours.flatten(1)[..., None].expand(-1, -1, self.num_past))
            snapshots = snapshots.unflatten(1, neighbours.shape[1:])
            spectrum = spectra(snapshots, noise_power, highest_doppler(task))
            described = _describe(snapshots, spectrum, noise_power, chosen, shape)
        features = self.mix(self.look(described))
        context = Context(bins, chosen, snapshots[:, :, 0], spectrum, noise_power, features)
        return self.to_token(features[:, :TOKENS]), None, context

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: Context) -> Action:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64."""
        heard = self.from_token(self.norm(hidden))
        features = torch.cat([context.features[:, :TOKENS] + heard, context.features[:, TOKENS:]], 1)
        listened, _ = self.listen(self.listen_norm(features), heard, heard, need_weights=False)
        features = self.mix_again(features + listened)
        correction = self.correct(features)
        spectrum = context.spectrum * correction[..., :FREQUENCIES].clamp(-8, 8).exp()
        noise = context.noise_power[:, None] * correction[..., FREQUENCIES].clamp(-3, 3).exp()
        strong = predict(context.series, spectrum, noise, self.num_future, highest_doppler(task))
        strong = strong * (1 + correction[..., FREQUENCIES + 1, None])
        level = context.series.abs().square().mean(-1, keepdim=True).sqrt()
        phase = context.series[..., -1:] / context.series[..., -1:].abs().clamp_min(TINY)
        direct = torch.view_as_complex(self.directly(features).unflatten(-1, (self.num_future, 2)).contiguous())
        strong = strong + direct * level * phase
        return self._future(task, context, strong)

    def loss(self, task: Task, state: Any, obs: Obs, action: Action, context: Context, progress: float) -> Tensor:
        """NMSE of each episode over that of the start, so that slow users at high SNR count as much as fast ones at low."""
        with torch.no_grad():
            noise = context.noise_power[:, None].expand(context.chosen.shape)
            strong = predict(context.series, context.spectrum, noise, self.num_future, highest_doppler(task.spec))
            begun = task.score(state, self._future(task.spec, context, strong))["nmse"]
        return (task.score(state, action)["nmse"] / (begun + LOSS_FLOOR)).mean()

    def _future(self, task: TaskSpec, context: Context, strong: Tensor) -> Tensor:
        """The whole prediction: ``strong``, shape (batch, BINS, future), where chosen, and the shared spectrum's elsewhere."""
        with torch.no_grad():
            shared = context.spectrum[:, TOKENS:].sum(1)
            shared = shared / shared.sum(-1, keepdim=True).clamp_min(TINY)  # no weak bins: nothing is shared
            power = (context.bins.abs().square().mean(1) - context.noise_power[:, None]).clamp_min(0)
            weak = predict_alike(context.bins.mT, power, shared, context.noise_power, self.num_future, highest_doppler(task))
        future = weak.scatter(1, context.chosen[..., None].expand_as(strong), strong).mT
        return from_bins(task, future.unflatten(2, (task.scenario.num_antennas, -1)))


def highest_doppler(task: TaskSpec) -> float:
    """Maximum Doppler frequency considered, cycles per slot."""
    speed = torch.tensor(task.scenario.speed_mps[1])
    return max(HIGHEST_DOPPLER, DOPPLER_MARGIN * float(max_doppler_hz(task, speed)) * task.scenario.slot_duration_s)


def _mixer() -> torch.nn.Module:
    """One layer of attention among the bins."""
    return torch.nn.TransformerEncoderLayer(CHANNELS, 4, 2 * CHANNELS, dropout=0.0, batch_first=True, norm_first=True)


def _grid_shape(task: TaskSpec) -> tuple[int, int, int, int]:
    panel = task.scenario.panel
    polarisations = panel.num_antennas // (panel.rows * panel.columns)
    return polarisations, panel.columns, panel.rows, task.scenario.num_subcarriers


def _coordinates(chosen: Tensor, shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _, columns, rows, delays = shape
    delay = chosen % delays
    row = chosen // delays % rows
    column = chosen // (delays * rows) % columns
    return chosen // (delays * rows * columns), column, row, delay


def _neighbours(chosen: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    """Indices of each bin and those one step away in beam and delay, shape (batch, bins, 7)."""
    _, columns, rows, delays = shape
    polarisation, column, row, delay = _coordinates(chosen, shape)
    steps = ((0, 0, 0), (0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))
    found = [
        ((polarisation * columns + (column + c) % columns) * rows + (row + r) % rows) * delays + (delay + d) % delays
        for c, r, d in steps
    ]
    return torch.stack(found, -1)


def _describe(
    snapshots: Tensor, spectrum: Tensor, noise_power: Tensor, chosen: Tensor, shape: tuple[int, int, int, int]
) -> Tensor:
    """Features of each bin, shape (batch, bins, n): spectrum, own series in phase and scale, strength, place, neighbours."""
    own = snapshots[:, :, 0]
    level = own.abs().square().mean(-1, keepdim=True).sqrt().clamp_min(TINY**0.5)
    phase = own[..., -1:] / own[..., -1:].abs().clamp_min(TINY)
    power = spectrum.sum(-1, keepdim=True).clamp_min(TINY)
    relative = torch.linspace(-1, 1, FREQUENCIES, device=spectrum.device)
    noise = noise_power[:, None, None]
    overlap = (snapshots[:, :, 1:].conj() * own[:, :, None]).mean(-1) / level.square()
    place = []
    for index, size in zip(_coordinates(chosen, shape)[1:], shape[1:], strict=True):
        angle = 2 * math.pi * index / size
        place += [angle.sin(), angle.cos()]
    strongest = power.amax(1, keepdim=True)
    return torch.cat(
        [
            torch.log(spectrum / power * FREQUENCIES + 1e-3) / 3,
            parts(own / level / phase).flatten(-2),
            torch.log(power / noise) / 3,
            torch.log(power / strongest + 1e-6) / 3,
            parts(overlap).clamp(-3, 3).flatten(-2),
            torch.stack(place, -1),
            (spectrum * relative).sum(-1, keepdim=True) / power,
            (spectrum * relative.square()).sum(-1, keepdim=True) / power,
        ],
        -1,
    )
