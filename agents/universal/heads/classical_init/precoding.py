"""Precoding: denoise every user's channel beam by beam, estimate the remaining error, and precode for it.

The head starts as `robust_wmmse`: each beam scaled by its Wiener gain, and an error of equal variance in all beams left over.
What it learns are corrections of the estimate and of the error's variance, per user and beam, from which a few iterations of
WMMSE for Gaussian channel errors make the precoder, and corrections of its powers and regularisations. One token is one user;
beams are mixed by circular convolutions over the panel, so users and antennas may be any number.

Sources: WMMSE as in the agent `wmmse`; for known error covariances C_k, E|h_k^H w|^2 = |h_hat_k^H w|^2 + w^H C_k w takes the
place of |h_k^H w|^2: Negro, Ghauri, Slock, "Sum rate maximization in the noncooperative MIMO interfering broadcast channel
with imperfect channel knowledge", 2012; structure of the result, arXiv 2412.20772, eqs. (4) and (24).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.arrays import from_beams, to_beams
from wirelessgym.capacity import amplitudes, shares, unit_rows
from wirelessgym.fields import Action, Obs
from wirelessgym.metrics import user_rates
from wirelessgym.spec import TaskSpec

from ...._linear import active_users, wants_structure
from ....robust_wmmse import error_as_noise, wiener
from ....wmmse import WMMSE
from .._layers import TINY, mlp, parts, rotate_phase, zero_init
from ..base import Head

CHANNELS = 48
BEAM_FEATURES = 8
USER_FEATURES = 9
START_ERROR_WEIGHT = 2.0  # as in robust_wmmse
ITERATIONS = 40  # within 0.1 % of where robust_wmmse gets in 100
TRAINING_ITERATIONS = 10  # fewer, for the cost; acting with more only gains
ROUNDING = 1e-7  # of float32: no signal stands further above its disturbance
LARGEST_CORRECTION = 3.0  # of a logarithm


@dataclass(frozen=True)
class Knowledge:
    """What is known before the backbone runs. Beams are rotated such that each user's strongest is positive.

    Attributes:
        beams: observed, shape (batch, users, antennas), complex64.
        gains: Wiener gain of each beam, same shape, float32.
        residual: variance of the error left in each entry, shape (batch,).
        variance: what precoding starts to reckon with in its place, same shape.
        error: variance of the observation's error, shape (batch,).
        phase: that the strongest beam had, shape (batch, users, 1).
        features: of the beams, shape (batch * users * polarisations, CHANNELS, columns, rows).
        present: shape (batch, users), bool.
    """

    beams: Tensor
    gains: Tensor
    residual: Tensor
    variance: Tensor
    error: Tensor
    phase: Tensor
    features: Tensor
    present: Tensor


class PrecodingHead(Head):
    """Encoder and decoder of the precoding task."""

    ordered = False
    mixed_precision = False  # matrices are inverted

    def __init__(self, task: TaskSpec, width: int) -> None:
        super().__init__(task, width)
        self.look = torch.nn.Sequential(
            torch.nn.Conv2d(BEAM_FEATURES, CHANNELS, 1),
            torch.nn.GELU(),
            _circular(CHANNELS, CHANNELS),
            torch.nn.GELU(),
            _circular(CHANNELS, CHANNELS),
            torch.nn.GELU(),
        )
        self.to_token = mlp(2 * CHANNELS + USER_FEATURES, 256, width)
        self.norm = torch.nn.LayerNorm(width)
        self.to_user = mlp(width, 256, 2 * CHANNELS + 4)
        self.correct = torch.nn.Sequential(
            _circular(CHANNELS, CHANNELS),
            torch.nn.GELU(),
            _circular(CHANNELS, CHANNELS),
            torch.nn.GELU(),
            torch.nn.Conv2d(CHANNELS, 4, 1),
        )
        zero_init(self.to_user)
        zero_init(self.correct)

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, Tensor, Knowledge]:
        """Return a token per user, shape (batch, users, width), and what the decoder starts from."""
        panel = task.scenario.panel
        csi, present = obs["csi"], active_users(obs["csi"])
        error = obs.get("csi_noise_power", torch.zeros_like(obs["noise_power"]))
        beams = to_beams(csi, panel.rows, panel.columns)
        strongest = beams.gather(-1, beams.abs().argmax(-1, keepdim=True))
        beams = rotate_phase(beams, -strongest.angle())
        gains, residual, sparse = wiener(beams, error, present)
        power = beams.abs().square().mean(-1, keepdim=True).clamp_min(TINY)
        unit = beams / power.sqrt()
        others = (gains * beams).abs().square()
        others = (others.sum(1, keepdim=True) - others) / power
        relative_error = (error[:, None, None] / power).expand_as(gains)
        per_beam = torch.stack(
            [
                *parts(unit).unbind(-1),
                unit.abs(),
                gains,
                torch.log(unit.abs().square() + 1e-3),
                torch.log(relative_error + 1e-3),
                (unit.abs().square() / (relative_error + 1e-2)).log1p(),
                torch.log(others + 1e-2),
            ],
            -1,
        )
        grid = per_beam.unflatten(2, (-1, panel.columns, panel.rows)).flatten(0, 2).permute(0, 3, 1, 2)
        features = self.look(grid)
        polarisations = len(features) // present.numel()
        pooled = torch.cat([features.mean((-2, -1)), features.amax((-2, -1))], -1)
        pooled = pooled.unflatten(0, (*present.shape, polarisations)).mean(2)
        known = Knowledge(
            beams,
            gains,
            residual,
            error_as_noise(residual, sparse, START_ERROR_WEIGHT),
            error,
            strongest.angle(),
            features,
            present,
        )
        token = self.to_token(torch.cat([pooled, self._user_features(obs, known, power[..., 0])], -1))
        return token, present, known

    def _user_features(self, obs: Obs, known: Knowledge, power: Tensor) -> Tensor:
        """Gain, noise, error, and how much of the user's direction the others share, before and after regularisation."""
        estimate = known.gains * known.beams
        directions = rotate_phase(unit_rows(estimate), known.phase)
        overlap = (directions.conj() @ directions.mT).abs().square()
        overlap = overlap - torch.diag_embed(overlap.diagonal(dim1=-2, dim2=-1))
        snr = obs["tx_power"][:, None] * known.beams.shape[-1] * power / obs["noise_power"][:, None]
        users = known.present.sum(-1, keepdim=True).to(power.dtype)
        gram = rotate_phase(estimate, known.phase)
        gram = gram.conj() @ gram.mT
        loading = users * (obs["noise_power"] / obs["tx_power"])[:, None] + users * known.residual[:, None]
        regular = gram + torch.diag_embed(loading.expand_as(power)).to(gram.dtype)
        kept = torch.linalg.solve(regular, gram).diagonal(dim1=-2, dim2=-1).real
        error = known.error[:, None] / power.clamp_min(TINY)
        columns = [
            torch.log(snr + 1e-3) / 5,
            torch.log(users).expand_as(power),
            torch.log(error + 1e-3) / 3,
            torch.log(known.residual[:, None] / power.clamp_min(TINY) + 1e-3) / 3,
            overlap.amax(-1),
            overlap.sum(-1) / users,
            kept,
            torch.log((1 - kept).clamp_min(1e-4)) / 3,
            known.gains.mean(-1),
        ]
        return torch.stack(columns, -1)

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, known: Knowledge) -> Action:
        """Return precoders, shape (batch, users, antennas), complex64, ``sum_k |w_k|^2 = tx_power``.

        Where the task asks for the structure, its (p, lambda), shape (batch, users, 2), in shares of ``tx_power``.
        """
        panel = task.scenario.panel
        user = self.to_user(self.norm(hidden))
        scale, shift = user[..., :CHANNELS], user[..., CHANNELS : 2 * CHANNELS]
        repeats = len(known.features) // known.present.numel()

        def per_image(x: Tensor) -> Tensor:
            return x.flatten(0, 1).repeat_interleave(repeats, 0)[..., None, None]

        correction = self.correct(known.features * (1 + per_image(scale)) + per_image(shift))
        correction = correction.permute(0, 2, 3, 1).unflatten(0, (*known.present.shape, repeats)).flatten(2, 4)
        deviation = known.error.sqrt()[:, None, None]
        shifted = torch.view_as_complex(correction[..., :2].contiguous()) * deviation
        observed = known.beams.abs().square()
        gains = known.gains + correction[..., 2] * (known.error[:, None, None] / (known.error[:, None, None] + observed + TINY))
        estimate = (gains * known.beams + shifted) * known.present[..., None]
        variance = known.variance[:, None, None] * bounded(correction[..., 3]).exp()
        estimate = rotate_phase(estimate, known.phase)
        factors = bounded(user[..., 2 * CHANNELS :])
        iterations = TRAINING_ITERATIONS if self.training else ITERATIONS
        w, power, regularisation = error_aware_wmmse(estimate, variance, obs["noise_power"], obs["tx_power"], factors, iterations)
        if wants_structure(task):
            return torch.stack([power, regularisation], -1) / obs["tx_power"][:, None, None]
        w = from_beams(w, panel.rows, panel.columns)
        return w if self.training or "csi_noise_power" in obs else best_on_known_channel(task, obs, w)


def bounded(logarithm: Tensor) -> Tensor:
    """Keep a learned logarithm within reason: near zero it is itself."""
    return LARGEST_CORRECTION * torch.tanh(logarithm / LARGEST_CORRECTION)


def error_aware_wmmse(
    estimate: Tensor, variance: Tensor, noise_power: Tensor, tx_power: Tensor, correction: Tensor, iterations: int = ITERATIONS
) -> tuple[Tensor, Tensor, Tensor]:
    """WMMSE on channel estimates whose errors are independent with known variances.

    Args:
        estimate: shape (batch, users, n), complex64; rows of zeros are no users.
        variance: of each entry's error, float32, of a shape that broadcasts to it.
        noise_power: shape (batch,), W.
        tx_power: shape (batch,), W.
        correction: factors, as logarithms, on the powers and regularisations of the last and of the first iterate, shape
            (batch, users, 4).
        iterations: at least 1; they start from regularised zero-forcing.

    Returns:
        Precoders, shape (batch, users, n), and their powers and regularisations, shape (batch, users), W.
    """
    users = estimate.shape[1]
    variance = variance.expand(estimate.shape)
    identity = torch.eye(users, dtype=estimate.dtype, device=estimate.device)
    present = active_users(estimate.detach())
    noise_to_power = noise_power / tx_power
    weights = correction[..., 3].exp() * present
    loading = noise_to_power * present.sum(-1)
    w = unit_rows(_directions(estimate, variance, weights, loading, identity)) * (correction[..., 2:3] / 2).exp()
    for turn in range(iterations):
        received = estimate.conj() @ w.mT
        signal = received.diagonal(dim1=-2, dim2=-1)
        spread = variance @ w.abs().square().sum(1)[..., None]
        noise = noise_to_power * w.abs().square().sum((-2, -1))
        total = received.abs().square().sum(-1) + spread[..., 0] + noise[:, None]
        strength = signal.abs().square()
        disturbance = torch.maximum(total - strength, ROUNDING * total)
        weights = strength / total / disturbance
        last = turn == iterations - 1
        loading = (noise_to_power * weights.sum(-1)).clamp_min(1e-20)
        if last:
            weights = weights * correction[..., 1].exp()
            weights = weights * (loading / (noise_to_power * weights.sum(-1)).clamp_min(1e-20))[:, None]
        directions = _directions(estimate, variance, weights, loading, identity)
        w = directions * (signal / disturbance)[..., None]
    power = shares(w.abs().square().sum(-1) * correction[..., 0].exp(), tx_power) * present
    power = power * (tx_power / power.sum(-1).clamp_min(TINY))[:, None]
    return unit_rows(directions) * amplitudes(power)[..., None], power, shares(weights, tx_power)


def _directions(estimate: Tensor, variance: Tensor, weights: Tensor, loading: Tensor, identity: Tensor) -> Tensor:
    """Rows of ``(D + sum_k q_k h_k h_k^H)^-1 h_k``, ``D = loading I + sum_k q_k C_k`` being diagonal."""
    diagonal = loading[:, None] + (weights[..., None] * variance).sum(1)
    scaled = estimate / diagonal[:, None]
    gram = scaled @ estimate.mH  # entry (j, k) is h_k^H D^-1 h_j
    # Row k of the result solves sum_j (I + gram Q)_kj x_j = scaled_k.
    result: Tensor = torch.linalg.solve(identity + gram * weights[:, None, :], scaled)
    return result


def best_on_known_channel(task: TaskSpec, obs: Obs, w: Tensor) -> Tensor:
    """Of ``w`` and WMMSE's precoder the better one for each row: on a perfectly known channel that can be told."""
    other = WMMSE(iterations=100).act(task, obs)
    mine, theirs = (user_rates(obs["csi"], x, obs["noise_power"]).sum(-1) for x in (w, other))
    return torch.where((mine > theirs)[:, None, None], w, other)


def _circular(channels_in: int, channels_out: int) -> torch.nn.Conv2d:
    return torch.nn.Conv2d(channels_in, channels_out, 3, padding=1, padding_mode="circular")
