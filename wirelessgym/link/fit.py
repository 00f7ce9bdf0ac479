"""Fit the block error rates of the link abstraction to simulations: ``python -m wirelessgym.link.fit``.

Every scheme is simulated on a flat channel with white noise, for 1 to 4 transmissions of one block with redundancy versions 0, 2,
3, 1. A bisection finds the SINR of even odds; blocks around it then give mu and sigma of ``Phi((mu - SINR) / sigma)`` by maximum
likelihood. The table is written after each scheme; ``--continue`` keeps those it has, so that a run can be resumed.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import ndtr

from wirelessgym.io import write_text_atomically
from wirelessgym.link.abstraction import MAX_TRANSMISSIONS, TABLE, entry_name
from wirelessgym.link.chain import receive
from wirelessgym.link.decoder import ITERATIONS
from wirelessgym.link.ldpc import Code, code_for
from wirelessgym.link.mcs import CQI_TABLE, LOWEST_MCS, MCS_TABLE, Scheme

Array = np.ndarray[Any, np.dtype[np.float64]]

_BATCH = 128
_FIRST_STEP_DB = 0.8
_BISECTIONS = 6
_SPREAD = (-1.2, -0.4, 0.4, 1.2)  # where blocks are simulated, in units of the expected sigma
_EXPECTED_SIGMA_DB = 0.3


def simulate(code: Code, sinr_db: float, transmissions: int, blocks: int, generator: torch.Generator) -> int:
    """Return how many of ``blocks`` are lost after a number of transmissions over a flat channel."""
    lost = 0
    for first in range(0, blocks, _BATCH):
        batch = min(_BATCH, blocks - first)
        bits = torch.rand(batch, code.num_bits, generator=generator) < 0.5
        sinr = torch.full((batch, 1), 10 ** (sinr_db / 10))
        soft, decoded = torch.zeros(batch, code.buffer_size), torch.zeros(batch, dtype=torch.bool)
        for number in range(transmissions):
            iterations = ITERATIONS if number == transmissions - 1 else 0  # what comes before the last is only collected
            noise = torch.randn(batch, code.num_coded // code.bits_per_symbol, dtype=torch.complex64, generator=generator)
            decoded, soft = receive(code, bits, sinr, noise, soft, number, iterations)
        lost += int((~decoded).sum())
    return lost


def fit_probit(sinr_db: Array, lost: Array, blocks: Array) -> tuple[float, float]:
    """Maximum-likelihood mu and sigma, both dB, of ``Phi((mu - SINR) / sigma)``."""

    def deviance(parameters: Array) -> float:
        share = np.clip(ndtr((parameters[0] - sinr_db) / math.exp(parameters[1])), 1e-9, 1 - 1e-9)
        return float(-(lost * np.log(share) + (blocks - lost) * np.log(1 - share)).sum())

    start = [float(np.average(sinr_db)), math.log(_EXPECTED_SIGMA_DB)]
    found = minimize(deviance, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}).x
    return float(found[0]), math.exp(float(found[1]))


def even_odds(code: Code, guess_db: float, transmissions: int, generator: torch.Generator) -> float:
    """SINR in dB, to some 0.1 dB, at which half of the blocks are lost; may lie anywhere, but is found sooner near the guess."""
    centre = guess_db
    while True:
        moves = []
        for bisection in range(_BISECTIONS):
            moves.append(1 if simulate(code, centre, transmissions, 32, generator) > 16 else -1)
            centre += moves[-1] * _FIRST_STEP_DB * 0.55**bisection
        if abs(sum(moves)) < _BISECTIONS:  # otherwise it lies further on
            return centre


def fit_scheme(scheme: Scheme, resource_elements: int, transmissions: int, blocks: int, seed: int) -> dict[str, list[float]]:
    """Return mu and sigma of a scheme for 1 to ``transmissions`` transmissions, dB."""
    code = code_for(scheme, resource_elements)
    mu_db: list[float] = []
    sigma_db: list[float] = []
    guess = 10 * math.log10(2**scheme.spectral_efficiency - 1) + 1.2
    for count in range(1, transmissions + 1):
        generator = torch.Generator().manual_seed(seed * 100_000 + scheme.rate_1024 * 80 + scheme.bits_per_symbol * 10 + count)
        centre = even_odds(code, guess, count, generator)
        points = centre + _EXPECTED_SIGMA_DB * np.array(_SPREAD)
        lost = np.array([simulate(code, float(point), count, blocks, generator) for point in points], np.float64)
        mu, sigma = fit_probit(points, lost, np.full(len(points), blocks, np.float64))
        mu_db.append(round(mu, 4))
        sigma_db.append(round(sigma, 4))
        guess = mu + 10 * math.log10(count / (count + 1)) - 0.5  # the energy of one more transmission, and some coding gain
    return {"mu_db": mu_db, "sigma_db": sigma_db}


def _jobs() -> Iterator[tuple[Scheme, int]]:
    """Every scheme, and how often a block is sent with it; those that only CQI levels use once."""
    for scheme in MCS_TABLE[LOWEST_MCS:]:
        yield scheme, MAX_TRANSMISSIONS
    for scheme in CQI_TABLE:
        if scheme not in MCS_TABLE[LOWEST_MCS:]:
            yield scheme, 1


def _written(table: dict[str, Any]) -> str:
    """JSON with lists of numbers on one line."""
    return re.sub(r"\[\s+([^\[\]]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", json.dumps(table, indent=1)) + "\n"


def main() -> None:
    """Fit a table, and keep what there is of it as it grows."""
    parser = argparse.ArgumentParser(description="Fit the block error rates of the link abstraction to simulations.")
    parser.add_argument("--resource-elements", type=int, default=672)
    parser.add_argument("--blocks", type=int, default=192, help="simulated at each of four SINRs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=TABLE)
    parser.add_argument("--continue", dest="keep", action="store_true", help="keep the schemes that --out has already")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done: dict[str, Any] = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.is_file() else {"tables": {}}
    if not arguments.keep:
        done["tables"].pop(str(arguments.resource_elements), None)
    table = done["tables"].setdefault(str(arguments.resource_elements), {})
    settings = {"blocks": arguments.blocks, "seed": arguments.seed, "iterations": ITERATIONS, "redundancy_versions": [0, 2, 3, 1]}
    if arguments.keep and done.get("settings", settings) != settings:
        parser.error(f"{arguments.out} was fitted with {done['settings']}, not with {settings}")
    done |= {"command": "python -m wirelessgym.link.fit", "settings": settings, "torch": torch.__version__}
    for scheme, transmissions in _jobs():
        name = entry_name(scheme)
        if name in table:
            continue
        begin = time.process_time()
        table[name] = fit_scheme(scheme, arguments.resource_elements, transmissions, arguments.blocks, arguments.seed)
        print(f"{name:14s} {table[name]} {time.process_time() - begin:.0f} s", flush=True)
        write_text_atomically(arguments.out, _written(done))


if __name__ == "__main__":
    main()
