"""Detection: expectation propagation over pairs of users, with learned corrections in its last iterations.

It starts as the agent `pair_ep` does. The remaining information is in the users' estimates and the Gram matrix: a graph network
passes it along the pairs of users, the backbone reads one token per user, and both shift the log-probability of each point in the
last iterations. At first this is EP over pairs. Points are scored one by one, so the modulation, the users and the antennas may
be any.

Source: a graph network within expectation propagation: Kosasih et al., "Graph neural network aided MU-MIMO detectors", IEEE J.
Sel. Areas Commun. 40(9), 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wirelessgym.fields import Action, Obs
from wirelessgym.modulation import llrs_of_logits, log_likelihoods
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

from ...._detection import points_of, sufficient_statistics, wants_llrs
from ...._linear import active_users
from ...._pair_ep import DAMPING, Belief, pair_log_likelihoods, start, turn
from .._layers import mlp, parts, zero_init
from ..base import Head

CHANNELS = 48
USER_FEATURES = 13
PAIR_FEATURES = 3
FIRST_TURNS = 4
LAST_TURNS = 4
LOSS_FLOOR = 0.02


@dataclass(frozen=True)
class Context:
    """What the decoder needs besides the backbone's output.

    Attributes:
        belief: after the first iterations.
        features: of the users, shape (sequences, users, CHANNELS).
        pairs: of the users' pairs, shape (sequences, users, users, PAIR_FEATURES).
        points: shape (points,), complex64.
        present: shape (sequences, users), bool.
    """

    belief: Belief
    features: Tensor
    pairs: Tensor
    points: Tensor
    present: Tensor


class Exchange(torch.nn.Module):
    """One round of messages between all pairs of users."""

    def __init__(self) -> None:
        super().__init__()
        self.say = torch.nn.Linear(CHANNELS, CHANNELS)
        self.hear = torch.nn.Linear(CHANNELS, CHANNELS)
        self.pair = torch.nn.Linear(PAIR_FEATURES, CHANNELS)
        self.message = torch.nn.Linear(CHANNELS, CHANNELS)
        self.update = mlp(2 * CHANNELS, 2 * CHANNELS, CHANNELS)
        self.norm = torch.nn.LayerNorm(CHANNELS)

    def forward(self, features: Tensor, pairs: Tensor) -> Tensor:
        """Return new features, shape (sequences, users, CHANNELS)."""
        calm = self.norm(features)
        heard = self.hear(calm)[:, :, None] + self.say(calm)[:, None] + self.pair(pairs)
        strength = pairs[..., :1]
        message = self.message((torch.nn.functional.gelu(heard) * strength).sum(2))
        update: Tensor = self.update(torch.cat([calm, message], -1))
        return features + update


class DetectionHead(Head):
    """Encoder and decoder of the detection task. A sequence is one received vector, a token one user."""

    ordered = False
    mixed_precision = False  # matrices are inverted

    def __init__(self, task: TaskSpec, width: int) -> None:
        super().__init__(task, width)
        self.look = mlp(USER_FEATURES, CHANNELS, CHANNELS)
        self.before = torch.nn.ModuleList([Exchange(), Exchange()])
        self.to_token = mlp(CHANNELS, 256, width)
        self.norm = torch.nn.LayerNorm(width)
        self.from_token = torch.nn.Linear(width, CHANNELS)
        self.again = mlp(USER_FEATURES, CHANNELS, CHANNELS)
        self.turns = torch.nn.ModuleList([Exchange() for _ in range(LAST_TURNS)])
        self.ask = torch.nn.ModuleList([torch.nn.Linear(CHANNELS, 32) for _ in range(LAST_TURNS)])
        self.score = torch.nn.ModuleList([zero_init(mlp(32, 32, 1, bias=False)) for _ in range(LAST_TURNS)])
        # Boldness, and the pace of the messages where another iteration follows.
        self.pace = torch.nn.ModuleList([zero_init(mlp(CHANNELS, 32, 2)) for _ in range(LAST_TURNS - 1)])
        self.pace.append(zero_init(mlp(CHANNELS, 32, 1)))
        self.place = torch.nn.ModuleList([torch.nn.Linear(5, 32) for _ in range(LAST_TURNS)])

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, Tensor, Context]:
        """Return a token per user of each received vector, shape (batch * slots, users, width), and what EP knows so far."""
        slots = obs["received"].shape[1]
        points = points_of(task, obs["received"])
        present = active_users(obs["csi"].mT).repeat_interleave(slots, 0)
        gram, collected = sufficient_statistics(obs, "the detection head")
        with torch.no_grad():
            belief = start(gram, collected)
            for _ in range(FIRST_TURNS):
                belief = turn(belief, log_likelihoods(belief.estimate, belief.variance, points), points)
        pairs = _pair_features(gram)
        features = self.look(_user_features(belief, points))
        for exchange in self.before:
            features = exchange(features, pairs)
        return self.to_token(features), present, Context(belief, features, pairs, points, present)

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: Context) -> Action:
        """Return posterior means, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for."""
        belief, points = context.belief, context.points
        features = context.features + self.from_token(self.norm(hidden))
        for index in range(LAST_TURNS):
            features = self.turns[index](features + self.again(_user_features(belief, points)), context.pairs)
            plain = pair_log_likelihoods(belief, points)
            boldness, *pace = self.pace[index](features).unbind(-1)
            logits = plain * boldness.exp()[..., None] + self._opinion(index, features, belief, points, plain)
            if pace:
                belief = turn(belief, logits, points, torch.sigmoid(pace[0] + math.log(DAMPING / (1 - DAMPING))))
        probabilities = torch.softmax(logits, -1)
        shape = obs["received"].shape[:2]
        symbols = ((probabilities * points).sum(-1) * context.present).unflatten(0, shape)
        return {"symbols": symbols, "llrs": llrs_of_logits(logits).unflatten(0, shape)} if wants_llrs(task) else symbols

    def loss(self, task: Task, state: Any, obs: Obs, action: Action, context: Context, progress: float) -> Tensor:
        """NMSE of each episode, relative to what EP expects of its own, so that high SNR counts as much as low."""
        nmse = task.score(state, action)["nmse"]
        posterior = torch.softmax(log_likelihoods(context.belief.estimate, context.belief.variance, context.points), -1)
        mean = (posterior * context.points).sum(-1, keepdim=True)
        expected = (posterior * (context.points - mean).abs().square()).sum(-1).mean(-1).unflatten(0, (len(nmse), -1)).mean(-1)
        return (nmse / (expected + LOSS_FLOOR)).mean()

    def _opinion(self, index: int, features: Tensor, belief: Belief, points: Tensor, plain: Tensor) -> Tensor:
        """What is added to each point's log-probability, shape (sequences, users, points)."""
        offset = (points - belief.estimate[..., None]) * belief.variance.rsqrt()[..., None]
        where = torch.cat(
            [
                parts(points).expand(*plain.shape, 2),
                parts(offset).clamp(-8, 8) / 4,
                torch.log_softmax(plain, -1).clamp_min(-12)[..., None] / 6,
            ],
            -1,
        )
        mixed = torch.nn.functional.gelu(self.ask[index](features)[..., None, :] + self.place[index](where))
        opinion: Tensor = self.score[index](mixed)
        return opinion[..., 0]


def _user_features(belief: Belief, points: Tensor) -> Tensor:
    """What one user is known by, shape (sequences, users, USER_FEATURES)."""
    probabilities = torch.softmax(log_likelihoods(belief.estimate, belief.variance, points), -1)
    mean = (probabilities * points).sum(-1)
    spread = (probabilities * (points - mean[..., None]).abs().square()).sum(-1)
    residual = belief.collected - (belief.gram @ mean[..., None])[..., 0]
    gain = belief.gram.diagonal(dim1=-2, dim2=-1).real.clamp_min(1e-9)
    matched_residual = residual / gain.sqrt()
    return torch.cat(
        [
            parts(belief.estimate).clamp(-3, 3),
            parts(mean),
            parts(matched_residual).clamp(-30, 30) / 3,
            parts(residual / gain).clamp(-3, 3),
            torch.log(belief.variance)[..., None] / 3,
            torch.log(spread + 1e-5)[..., None] / 3,
            torch.log(gain)[..., None] / 3,
            torch.log(belief.precision.clamp_min(1e-3))[..., None] / 3,
            (gain * spread).log1p()[..., None] / 2,
        ],
        -1,
    )


def _pair_features(gram: Tensor) -> Tensor:
    """How much two users share, shape (sequences, users, users, PAIR_FEATURES): |overlap|, and the complex overlap."""
    gain = gram.diagonal(dim1=-2, dim2=-1).real.clamp_min(1e-9).sqrt()
    overlap = gram / gain[..., None] / gain[..., None, :]
    overlap = overlap - torch.diag_embed(overlap.diagonal(dim1=-2, dim2=-1))
    return torch.cat([overlap.abs()[..., None], parts(overlap)], -1)
