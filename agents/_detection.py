"""Mathematics and conventions that several detectors share.

Shapes as in the detection task: received (batch, slots, antennas), csi (batch, antennas, users), ``y = H x + n``,
symbols of unit mean energy. The channel is the same in all slots, so filters are computed once per row.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from wirelessgym.fields import Action, Obs
from wirelessgym.modulation import constellation, llrs, llrs_of_logits
from wirelessgym.spec import TaskSpec

from ._linear import active_users

LEAST_NOISE = 1e-9  # relative to the channel's power per entry
LARGEST_CHUNK = 2**18  # hypotheses weighed at once: 1 MB for a number about each


def noise_power_of(obs: Obs, who: str) -> Tensor:
    """Return the effective noise power that a detector faces, shape (batch,), W.

    An error on the channel turns each user's unit-energy symbols into noise of the error's variance, which is added
    where the task reveals it.

    Raises:
        ValueError: if the task hides the noise power.
    """
    if "noise_power" not in obs:
        raise ValueError(f"{who} needs the noise power: make the task with noise_power_observable=True")
    if "csi_noise_power" not in obs:
        return obs["noise_power"]
    return obs["noise_power"] + active_users(transposed(obs)).sum(-1) * obs["csi_noise_power"]


def wants_llrs(task: TaskSpec) -> bool:
    """Whether the task asks for log-likelihood ratios besides the symbols."""
    return any(field.name == "llrs" for field in task.action_fields)


def points_of(task: TaskSpec, like: Tensor) -> Tensor:
    """The detection task's constellation, shape (points,), complex64, on the device of ``like``."""
    return constellation(task.modulation).to(like.device)


def answer(task: TaskSpec, symbols: Tensor, estimate: Tensor, variance: Tensor) -> Action:
    """Return ``symbols``, and where the task asks for them the ratios that an unbiased Gaussian estimate implies.

    Args:
        task: the detection task.
        symbols: the symbols to answer, shape (batch, slots, users), complex64.
        estimate: unbiased estimate of the symbols, same shape.
        variance: of its error, float32, of a shape that broadcasts to it.
    """
    if not wants_llrs(task):
        return symbols
    return {"symbols": symbols, "llrs": llrs(estimate, variance.expand(estimate.shape), points_of(task, estimate))}


def from_logits(task: TaskSpec, logits: Tensor, points: Tensor, soft: bool = True) -> Action:
    """Return the action that the log-probabilities of the points imply.

    Args:
        task: the detection task.
        logits: shape (batch, slots, users, points), up to a constant.
        points: shape (points,).
        soft: whether symbols are posterior means or the likeliest points.
    """
    symbols = (torch.softmax(logits, -1) * points).sum(-1) if soft else points[logits.argmax(-1)]
    return {"symbols": symbols, "llrs": llrs_of_logits(logits)} if wants_llrs(task) else symbols


def transposed(obs: Obs) -> Tensor:
    """The channel with users first, shape (batch, users, antennas)."""
    return obs["csi"].mT


def matched(obs: Obs) -> Tensor:
    """What each user's own channel collects, ``H^H y``, shape (batch, slots, users)."""
    return obs["received"] @ obs["csi"].conj()


def sufficient_statistics(obs: Obs, who: str, dtype: torch.dtype = torch.complex64) -> tuple[Tensor, Tensor]:
    """Return what a received vector tells of its symbols x: their log-likelihood is ``2 Re(x^H collected) - x^H gram x``.

    Args:
        obs: an observation.
        who: needs the noise power, for the error.
        dtype: to calculate in.

    Returns:
        ``H^H H / noise_power``, shape (batch * slots, users, users), and ``H^H y / noise_power``, shape (batch * slots, users).

    Raises:
        ValueError: if the task hides the noise power.
    """
    noise_power = noise_power_of(obs, who)
    noise_power = torch.maximum(noise_power, LEAST_NOISE * obs["csi"].abs().square().flatten(1).mean(-1))[:, None, None]
    csi, received = obs["csi"].to(dtype), obs["received"].to(dtype)
    gram = (csi.mH @ csi) / noise_power
    return gram.repeat_interleave(received.shape[1], 0), ((received @ csi.conj()) / noise_power).flatten(0, 1)


def in_chunks(statistics: tuple[Tensor, Tensor], candidates: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Split `sufficient_statistics` into groups of received vectors with bounded memory for ``candidates`` hypotheses on each."""
    rows = max(1, LARGEST_CHUNK // candidates)
    gram, collected = statistics
    return zip(gram.split(rows), collected.split(rows), strict=True)


def zero_forcing(obs: Obs) -> tuple[Tensor, Tensor]:
    """Pseudo-inverse: the symbols plus noise.

    Returns:
        Estimates, shape (batch, slots, users), and by how much each user's filter raises the noise power, shape
        (batch, users).
    """
    inverse = _inverse_gram(obs["csi"], torch.zeros_like(obs["csi"].real[:, 0, 0]))
    return (inverse @ matched(obs).mT).mT, inverse.diagonal(dim1=-2, dim2=-1).real


def linear_mmse(obs: Obs, noise_power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The linear estimate of least mean square error, ``(H^H H + noise_power I)^-1 H^H y``, and its bias.

    Returns:
        The estimate, shape (batch, slots, users); the same divided by its bias, which makes it the symbol plus an
        error; the variance of that error, shape (batch, 1, users), for unit-energy symbols. Source: Tse, Viswanath,
        "Fundamentals of Wireless Communication", 2005, section 8.3.3; with mean square error e, the bias is 1 - e
        and the variance e / (1 - e).
    """
    inverse = _inverse_gram(obs["csi"], noise_power)
    error = inverse.diagonal(dim1=-2, dim2=-1).real * noise_power[:, None]
    error = error.clamp(torch.finfo(error.dtype).tiny, 1 - torch.finfo(error.dtype).eps)[:, None]
    estimate = (inverse @ matched(obs).mT).mT
    return estimate, estimate / (1 - error), error / (1 - error)


def _inverse_gram(csi: Tensor, loading: Tensor) -> Tensor:
    """``(H^H H + loading I)^-1``, regular for users without a channel."""
    diagonal = loading[:, None] + torch.where(active_users(csi.mT) | (loading[:, None] > 0), 0.0, 1.0)
    inverse: Tensor = torch.linalg.inv(csi.mH @ csi + torch.diag_embed(diagonal).to(csi.dtype))
    return inverse
