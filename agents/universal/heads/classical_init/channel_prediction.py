"""Channel prediction: estimate the Doppler spectrum of every strong beam-delay bin, and predict with the filter made for it.

A ray sits in few bins of beam and delay. It starts from a Doppler spectrum per bin from an iterative adaptive estimate over the
bin and its neighbours (which hold the same rays), and the Wiener predictor that belongs to it. The network reads the
strongest bins together, the backbone one token for each of the strongest among these, and corrects every bin's spectrum,
noise and prediction. Weak bins share one spectrum per episode. Bins are chosen per episode, so any panel and bandwidth
will do.

The start, without the network, is the agent `doppler_lmmse` without cycle spinning; sources stand there.
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

from ...._doppler import FREQUENCIES, predict
from ...._prediction import num_future
from ...._strong_bins import (
    StrongBins,
    assemble,
    coordinates,
    grid_shape,
    highest_doppler,
    predict_strong,
    predict_weak,
    strong_bins,
)
from .._layers import TINY, mlp, parts, zero_init
from ..base import Head

CHANNELS = 128
TOKENS = 40  # strong bins that the backbone reads
LOSS_FLOOR = 0.003


@dataclass(frozen=True)
class Context:
    """What the decoder needs besides the backbone's output.

    Attributes:
        start: the bins and their Doppler spectra.
        features: shape (batch, BINS, CHANNELS).
    """

    start: StrongBins
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
            start = strong_bins(task, obs)
            described = _describe(start, grid_shape(task))
        features = self.mix(self.look(described))
        return self.to_token(features[:, :TOKENS]), None, Context(start, features)

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: Context) -> Action:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64."""
        heard = self.from_token(self.norm(hidden))
        features = torch.cat([context.features[:, :TOKENS] + heard, context.features[:, TOKENS:]], 1)
        listened, _ = self.listen(self.listen_norm(features), heard, heard, need_weights=False)
        features = self.mix_again(features + listened)
        correction = self.correct(features)
        start = context.start
        spectrum = start.spectrum * correction[..., :FREQUENCIES].clamp(-8, 8).exp()
        noise = start.noise_power[:, None] * correction[..., FREQUENCIES].clamp(-3, 3).exp()
        strong = predict(start.series, spectrum, noise, self.num_future, highest_doppler(task))
        strong = strong * (1 + correction[..., FREQUENCIES + 1, None])
        level = start.series.abs().square().mean(-1, keepdim=True).sqrt()
        phase = start.series[..., -1:] / start.series[..., -1:].abs().clamp_min(TINY)
        direct = torch.view_as_complex(self.directly(features).unflatten(-1, (self.num_future, 2)).contiguous())
        strong = strong + direct * level * phase
        return _future(task, start, strong)

    def loss(self, task: Task, state: Any, obs: Obs, action: Action, context: Context, progress: float) -> Tensor:
        """NMSE of each episode over that of the start, so that slow users at high SNR count as much as fast ones at low."""
        with torch.no_grad():
            future = _future(task.spec, context.start, predict_strong(task.spec, context.start))
            begun = task.score(state, future)["nmse"]
        return (task.score(state, action)["nmse"] / (begun + LOSS_FLOOR)).mean()


def _future(task: TaskSpec, start: StrongBins, strong: Tensor) -> Tensor:
    """The whole prediction: ``strong``, shape (batch, BINS, future), where chosen, and the shared spectrum's elsewhere."""
    with torch.no_grad():
        weak = predict_weak(task, start)
    return assemble(task, start, strong, weak)


def _mixer() -> torch.nn.Module:
    """One layer of attention among the bins."""
    return torch.nn.TransformerEncoderLayer(CHANNELS, 4, 2 * CHANNELS, dropout=0.0, batch_first=True, norm_first=True)


def _describe(start: StrongBins, shape: tuple[int, int, int, int]) -> Tensor:
    """Features of each bin, shape (batch, bins, n): spectrum, own series in phase and scale, strength, place, neighbours."""
    own, snapshots, spectrum = start.series, start.snapshots, start.spectrum
    level = own.abs().square().mean(-1, keepdim=True).sqrt().clamp_min(TINY**0.5)
    phase = own[..., -1:] / own[..., -1:].abs().clamp_min(TINY)
    power = spectrum.sum(-1, keepdim=True).clamp_min(TINY)
    relative = torch.linspace(-1, 1, FREQUENCIES, device=spectrum.device)
    noise = start.noise_power[:, None, None]
    overlap = (snapshots[:, :, 1:].conj() * own[:, :, None]).mean(-1) / level.square()
    place = []
    for index, size in zip(coordinates(start.chosen, shape)[1:], shape[1:], strict=True):
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
