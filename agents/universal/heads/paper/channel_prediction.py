"""Channel prediction as in arXiv 2412.20772: every antenna's past is a series of its own, read by convolutions and slot by slot.

Slots are mixed within patches; convolutions over (slots, subcarriers) with squeeze and excitation, the paper's CSI attention,
follow; then a linear layer to the width of a token and one that mixes all slots. The decoder goes back to subcarriers, and from
past slots to future ones. The loss is the squared error over the energy of each episode's future.

Each series is normalised by the mean and deviation of its own past. The released code takes mean and deviation over a batch, at
evaluation too, which lets each series see the others in its batch, so that results would depend on the batch.

The released code shuffles the antennas of all episodes, so that a batch has series of many. Training takes a few antennas of each
episode instead of all, by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wirelessgym.fields import Action, Obs
from wirelessgym.metrics import energy
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

from ...._learned_prediction import Standardised
from ...._prediction import num_future
from ...._sizes import SizedNetwork
from ....llm4cp import CSIAttention  # the same, for frequencies alone and with fewer channels
from ..base import Head

PATCH, CHANNELS, BLOCKS = 4, 50, 4
TRAINED_ANTENNAS = 4  # of each episode in a step of training; twelve episodes then make 48 series, where the paper's batch has 50


@dataclass
class Context:
    """What is carried from encoder to decoder, and from there to the loss.

    Attributes:
        standard: what undoes the normalisation.
        antennas: indices of those that are predicted, int64: all but in training.
    """

    standard: Standardised
    antennas: Tensor


class ChannelPredictionHead(Head, SizedNetwork):
    """Encoder and decoder of the channel prediction task.

    A sequence is one antenna of one episode, a token one slot. Antennas may be any number; slots and subcarriers are those of the
    first task.

    Raises:
        ValueError: if the past slots can't be split into patches of four.
    """

    ordered = True
    mixed_precision = True

    def __init__(self, task: TaskSpec, width: int) -> None:
        past, _, subcarriers = next(field.shape for field in task.observation_fields if field.name == "csi")
        if past % PATCH:
            raise ValueError(f"the paper's channel prediction head: expected past slots in multiples of {PATCH}, got {past}")
        super().__init__(task, width)
        self.sizes = {"past": past, "future": num_future(task), "subcarriers": subcarriers}
        self.attention = CSIAttention(PATCH, CHANNELS, BLOCKS)
        self.to_token = torch.nn.Linear(2 * subcarriers, width)
        self.mix_slots = torch.nn.Linear(past, past)
        self.output = torch.nn.Linear(width, 2 * subcarriers)
        self.to_future = torch.nn.Linear(past, num_future(task))

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, None, Context]:
        """Return a token per past slot, shape (batch * antennas, past, width), and what decoder and loss need.

        Raises:
            ValueError: for other numbers of slots or subcarriers than those of the first task.
        """
        csi = obs["csi"]
        past, antennas, subcarriers = csi.shape[1:]
        self.require("the paper's channel prediction head", past=past, future=num_future(task), subcarriers=subcarriers)
        chosen = torch.randperm(antennas)[:TRAINED_ANTENNAS] if self.training else torch.arange(antennas)
        chosen = chosen.to(csi.device)
        standard = Standardised(csi[:, :, chosen])
        images = standard.series.unflatten(-1, (-1, 2)).movedim(-1, 1)
        series = self.attention(images).movedim(1, -1).flatten(-2)
        tokens = self.mix_slots(self.to_token(series).mT).mT.float()
        # In order of memory, or each of the backbone's layers would copy its weights for every sequence.
        return tokens.contiguous(), None, Context(standard, chosen)

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: Context) -> Action:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64; in training, of a few antennas."""
        return context.standard.restored(self.to_future(self.output(hidden).mT).mT)

    def loss(self, task: Task, state: Any, obs: Obs, action: Action, context: Context, progress: float) -> Tensor:
        """Return the squared error over the energy of the future at the antennas that were predicted, a mean over episodes."""
        assert isinstance(action, Tensor)
        future = state.future[:, :, context.antennas]
        return (energy(action - future) / energy(future)).mean()
