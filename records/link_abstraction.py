"""How far the link abstraction is from real codewords on fading channels: ``python records/link_abstraction.py``.

The same episodes are played with one MCS throughout, once with fitted block error rates and once with LDPC codewords. Every line
of ``records/link-abstraction.json`` has both, and their paired difference per episode with its 95 % interval.
"""

import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wirelessgym import make_task
from wirelessgym.link.abstraction import TABLE, curves
from wirelessgym.link.mcs import LOWEST_MCS
from wirelessgym.record import provenance
from wirelessgym.registry import load_scenario

OUT = Path(__file__).with_name("link-abstraction.json")
SEED = 7
EPISODES = 128
HORIZON = 8
SCHEMES = (5, 10, 14, 20, 25)
SETTINGS: dict[str, dict[str, Any]] = {
    "one antenna, 30 km/h": {"scenario": "uma-nlos-1", "speed_kmh": 30.0},
    "one antenna, 100 km/h": {"scenario": "uma-nlos-1", "speed_kmh": 100.0},
    "beam of 32 antennas, 30 km/h": {"scenario": "uma-nlos-32", "speed_kmh": 30.0},
}
MARGINS_DB = (0.5, 3.0)  # of the mean SINR above that of even odds on a flat channel


def played(decoder: str, mcs: int, snr_db: float, setting: dict[str, Any]) -> dict[str, Tensor]:
    """Sums of each episode's metrics over its steps, shape (episodes,) each."""
    task = make_task("link_adaptation", decoder=decoder, snr_db=snr_db, horizon=HORIZON, **setting)
    state, _ = task.reset(range(EPISODES), seed=SEED)
    total: dict[str, Tensor] = {}
    for _ in range(HORIZON):
        state, step = task.step(state, torch.full((EPISODES,), mcs))
        total = {key: total.get(key, torch.zeros(EPISODES)) + value for key, value in step.metrics.items()}
    return total


def compared(name: str, mcs: int, margin_db: float) -> dict[str, Any]:
    """One line of the record."""
    snr_db = round(float(curves(672).mu_db[mcs - LOWEST_MCS, 0]) + margin_db, 2)
    both = {decoder: played(decoder, mcs, snr_db, SETTINGS[name]) for decoder in ("ldpc", "abstraction")}
    line: dict[str, Any] = {"setting": name, "mcs": mcs, "snr_db": snr_db}
    for decoder, total in both.items():
        line[decoder] = {
            "goodput": round(float(total["goodput"].mean() / HORIZON), 4),
            "bler": round(float(total["first_lost"].sum() / total["first_sent"].sum()), 4),
            "latency_slots": round(float(total["spent"].sum() / total["ended"].sum()), 4),
        }
    shares = {decoder: total["first_lost"] / total["first_sent"] for decoder, total in both.items()}
    line["difference"] = {
        "goodput": interval((both["abstraction"]["goodput"] - both["ldpc"]["goodput"]) / HORIZON),
        "bler": interval(shares["abstraction"] - shares["ldpc"]),
    }
    return line


def interval(difference: Tensor) -> list[float]:
    """Mean and 95 % interval of a paired difference."""
    mean, half = float(difference.mean()), 1.96 * float(difference.std()) / math.sqrt(len(difference))
    return [round(x, 4) for x in (mean, mean - half, mean + half)]


def main() -> None:
    """Play all lines and write the record."""
    torch.set_num_threads(1)
    begin, lines = time.monotonic(), []
    for name in SETTINGS:
        for mcs in SCHEMES:
            for margin_db in MARGINS_DB:
                lines.append(compared(name, mcs, margin_db))
                print(json.dumps(lines[-1]), flush=True)
    settings = {
        "seed": SEED,
        "episodes": EPISODES,
        "horizon": HORIZON,
        "block_error_rates": json.loads(TABLE.read_text())["settings"],
    }
    channels = [load_scenario(str(setting["scenario"])).channel for setting in SETTINGS.values()]
    made = provenance(channels, round(time.monotonic() - begin, 1)).model_dump(mode="json")
    record = {"command": "python records/link_abstraction.py", "settings": settings, "lines": lines, "provenance": made}
    OUT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
