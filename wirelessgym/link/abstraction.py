"""Link abstraction: from the SINR over a band to the probability that a block is lost.

The band is summed up by an effective SINR, that of a flat channel with the same block error rate (exponential mapping):

    SINR_eff = -beta ln( mean_i exp(-SINR_i / beta) ),

over all resource elements of all transmissions of the block. On the flat channel the block error rate follows a normal
distribution function of the SINR in dB, ``Phi((mu - SINR_eff) / sigma)``, with mu and sigma for each scheme and number of
transmissions, fitted to simulations of this package's own decoder (`wirelessgym.link.fit`).

Source: Brueninghaus et al., "Link performance models for system level simulations of broadband radio access systems", IEEE PIMRC
2005; 3GPP TR 36.878, annex A.1; beta as in Sionna 2.2 (``sys/esm_params/eesm_beta_table.json``, MCS table 1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from wirelessgym.link.mcs import CQI_TABLE, HIGHEST_MCS, LOWEST_MCS, MCS_TABLE, Scheme, transport_block_size

TABLE = Path(__file__).with_name("block_error_rates.json")
MAX_TRANSMISSIONS = 4
CQI_TARGET = 0.1  # block error rate that a reported CQI promises: TS 38.214, section 5.2.2.1

_BETAS = (
    1.60, 1.61, 1.63, 1.65, 1.67, 1.70, 1.73, 1.76, 1.79, 1.82, 3.97, 4.27, 4.71, 5.16, 5.66, 6.16, 6.50, 9.95, 10.97, 12.92,
    14.96, 17.06, 19.33, 21.85, 24.51, 27.14, 29.94, 32.05, 34.28,
)  # fmt: skip


def beta(scheme: Scheme) -> float:
    """Scale of the exponential mapping; a rate below the table's lowest takes the lowest's."""
    return _BETAS[MCS_TABLE.index(scheme)] if scheme in MCS_TABLE else _BETAS[0]


def phi(x: Tensor) -> Tensor:
    """Standard normal distribution function."""
    return 0.5 * torch.erfc(x * -math.sqrt(0.5))


def quantile(probability: float) -> float:
    """Where the standard normal distribution function takes a value."""
    return float(torch.special.ndtri(torch.tensor(probability, dtype=torch.float64)))


@dataclass(frozen=True, eq=False)
class Curves:
    """Block error rates of several schemes.

    Attributes:
        schemes: the schemes.
        beta: scale of the exponential mapping, shape (schemes,), float32.
        mu_db: SINR at which half of the blocks are lost, shape (schemes, transmissions), float32.
        sigma_db: width of the transition, same shape.
        bits: transport block sizes, shape (schemes,), int64.
    """

    schemes: tuple[Scheme, ...]
    beta: Tensor
    mu_db: Tensor
    sigma_db: Tensor
    bits: Tensor

    def block_error_rate(self, sinr_db: Tensor, transmissions: int = 1) -> Tensor:
        """Share of lost blocks of every scheme on a flat channel.

        Args:
            sinr_db: of each transmission, any shape.
            transmissions: how many of the same block were put together.

        Returns:
            Shape (*sinr_db.shape, schemes).
        """
        column = transmissions - 1
        return phi((self.mu_db[:, column] - sinr_db[..., None]) / self.sigma_db[:, column])

    def threshold_db(self, target: float) -> Tensor:
        """SINR at which the first transmission has block error rate ``target``, shape (schemes,)."""
        return self.mu_db[:, 0] - quantile(target) * self.sigma_db[:, 0]


def exponential_mean(sinr: Tensor, scale: Tensor) -> Tensor:
    """``mean_i exp(-SINR_i / beta)`` over the last axis, for every beta: shape (*sinr.shape[:-1], schemes)."""
    return torch.stack([(sinr * (-1 / value)).exp().mean(-1) for value in scale.tolist()], -1)


def effective_sinr_db(mean: Tensor, scale: Tensor) -> Tensor:
    """Effective SINR in dB from `exponential_mean`; up to some 87 beta, beyond which nothing is lost anyway."""
    return 10 * torch.log10(scale * -torch.log(mean.clamp_min(torch.finfo(torch.float32).tiny)).clamp_max(-1e-9))


@cache
def curves(resource_elements: int) -> Curves:
    """Return the curves of MCS 3 to 28.

    Raises:
        ValueError: for a number of resource elements that no table was fitted for.
    """
    return _read(resource_elements, MCS_TABLE[LOWEST_MCS : HIGHEST_MCS + 1])


@cache
def cqi_curves(resource_elements: int) -> Curves:
    """Return the curves of the first transmission with the schemes of CQI 1 to 15; raises what `curves` raises."""
    return _read(resource_elements, CQI_TABLE)


def fitted_sizes() -> list[int]:
    """Resource elements that a table was fitted for."""
    return [int(size) for size in _tables()]


@cache
def _tables() -> dict[str, dict[str, dict[str, list[float]]]]:
    tables: dict[str, dict[str, dict[str, list[float]]]] = json.loads(TABLE.read_text(encoding="utf-8"))["tables"]
    return tables


def _read(resource_elements: int, schemes: Sequence[Scheme]) -> Curves:
    table = _tables().get(str(resource_elements))
    if table is None:
        sizes = ", ".join(map(str, fitted_sizes()))
        raise ValueError(f"resource_elements: block error rates were fitted for {sizes}, got {resource_elements}")
    rows = [table[entry_name(scheme)] for scheme in schemes]
    most = min(len(row["mu_db"]) for row in rows)
    return Curves(
        schemes=tuple(schemes),
        beta=torch.tensor([beta(scheme) for scheme in schemes]),
        mu_db=torch.tensor([row["mu_db"][:most] for row in rows]),
        sigma_db=torch.tensor([row["sigma_db"][:most] for row in rows]),
        bits=torch.tensor([transport_block_size(scheme, resource_elements) for scheme in schemes]),
    )


def entry_name(scheme: Scheme) -> str:
    """Key of a scheme in the table, such as ``"4 x 616/1024"``."""
    return f"{scheme.bits_per_symbol} x {scheme.rate_1024}/1024"
