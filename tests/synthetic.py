"""Records with made-up numbers, for tests of what is done with records."""

from __future__ import annotations

from typing import Any

from wirelessgym.record import Gap, Latency, Paired, Provenance, Record, Sweep, Value

SETTINGS: dict[str, Any] = {
    "model": "uma", "sight": "nlos", "panel": {"rows": 8, "columns": 8}, "num_users": 4, "snr_db": 10.0,
    "csi_snr_db": None, "speed_kmh": [10.0, 100.0], "horizon": 10,
}  # fmt: skip
PROVENANCE = Provenance(
    git="0123456789abcdef0123456789abcdef01234567",
    dirty=False,
    versions={"python": "3.11.7", "torch": "2.13.0", "sionna": "2.2.0"},
    spec_version="19.2",
    hardware={"cpu": "Some Processor 9000", "cores": 2, "system": "Linux"},
    wall_time_s=12.5,
)


def record(agent: str = "rzf", mean: float = 20.0, half: float = 0.25, **changes: Any) -> Record:
    """A precoding record of ``agent`` with interval ``mean`` plus and minus ``half``."""
    unit = "bit/s/Hz"
    entries: dict[str, Any] = {
        "task": "precoding", "scenario": "uma-nlos-64", "agent": agent, "seed": 7, "episodes": 1000,
        "headline": "sum_rate", "higher_is_better": True, "bound": 24.0, "gap_to_bound": None, "paired": None,
        "latency_s": None, "parameters": 0, "scenario_settings": SETTINGS, "task_options": {}, "agent_options": {},
        "sweep": None, "provenance": PROVENANCE,
        "command": "wirelessgym compare precoding --agents zf,rzf,wmmse --scenario uma-nlos-64 --episodes 1000",
    }  # fmt: skip
    entries["metrics"] = {
        "sum_rate": Value(mean=mean, ci95=(mean - half, mean + half), unit=unit, higher_is_better=True),
        "min_rate": Value(mean=mean / 6, ci95=(mean / 6 - half, mean / 6 + half), unit=unit, higher_is_better=True),
        "user_rate[0]": Value(mean=mean / 4, ci95=(mean / 4 - half, mean / 4 + half), unit=unit, higher_is_better=True),
    }
    return Record(**(entries | changes))


def at_point() -> list[Record]:
    """A comparison at one point: four agents of which one failed, floor and bound."""
    latency = Latency(p50=0.00021, p95=0.00034)
    paired = Paired(reference="rzf", difference=1.31, ci95=(1.27, 1.36), p_value=1e-30, p_value_corrected=2e-30, better=True)
    worse = Paired(reference="rzf", difference=-0.02, ci95=(-0.05, 0.01), p_value=0.21, p_value_corrected=0.21, better=False)
    gap = Gap(mean=2.69, ci95=(2.6, 2.78))
    return [
        record("zf", 19.98, paired=worse, latency_s=latency, gap_to_bound=gap),
        record("rzf", 20.0, latency_s=latency, gap_to_bound=gap),
        record("wmmse", 21.31, paired=paired, latency_s=Latency(p50=0.0143, p95=0.0210), gap_to_bound=gap),
        record(
            "my_agent",
            metrics={},
            status="failed",
            traceback="Traceback (most recent call last):\nValueError: <b>no</b>",
        ),
        record("floor", 3.1, role="floor"),
        record("bound", 24.0, role="bound"),
    ]


def sweep() -> list[Record]:
    """Three agents and both limits over five values of snr_db."""
    gain = {"mrt": 0.6, "rzf": 1.0, "wmmse": 1.08, "floor": 0.15, "bound": 1.2}
    return [
        record(
            agent,
            factor * (10 + 1.1 * snr_db),
            role=agent if agent in ("floor", "bound") else "agent",
            sweep=Sweep(axis="snr_db", value=snr_db),
            scenario_settings=SETTINGS | {"snr_db": snr_db},
        )
        for snr_db in (0.0, 5.0, 10.0, 15.0, 20.0)
        for agent, factor in gain.items()
    ]
