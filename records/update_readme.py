"""Write the documents' tables from the records that stand beside this file: ``python records/update_readme.py``."""

import json
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path

from scipy.stats import t as student

from wirelessgym.record import Record, read_records
from wirelessgym.report import markdown_table

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- (?P<kind>table|study|cost): (?P<name>[\w/.-]+) -->\n)(.*?)(<!-- end of \w+ -->)", re.DOTALL)

# Headline of each task in a study's table: how it reads, and what one point's mean becomes before points are averaged.
HEADLINES: dict[str, tuple[str, str, Callable[[float], float]]] = {
    "precoding": ("sum_rate", "sum rate ↑ (bit/s/Hz)", float),
    "detection": ("nmse", "detection NMSE ↓", float),
    "channel_prediction": ("nmse", "prediction NMSE ↓ (dB)", lambda nmse: 10 * math.log10(nmse)),
}


def with_tables(text: str) -> str:
    """Return the text with each ``<!-- table: FOLDER -->`` and ``<!-- study: NAME -->`` block made anew."""

    def table(match: re.Match[str]) -> str:
        made = MAKERS[match["kind"]](match["name"])
        return f"{match[1]}\n{made}\n\n{match[5]}"

    return BLOCK.sub(table, text)


def cost_table(name: str) -> str:
    """Return the table of what decisions cost."""
    costs = json.loads((ROOT / name).read_text(encoding="utf-8"))["costs"]
    lines = [
        "task | agent | trainable | weights (MB) | batch 1: p50 (p95), ms | batch 64: p50 (p95), ms",
        ":--- | :--- | ---: | ---: | ---: | ---:",
    ]
    for cost in costs:
        latency = [f"{p50:.3g} ({p95:.3g})" for p50, p95 in cost["latency_ms"].values()]
        lines.append(" | ".join([cost["task"], cost["agent"], f"{cost['parameters']:,}", f"{cost['weights_mb']:g}", *latency]))
    return "\n".join(f"| {line} |" for line in lines)


def study_table(name: str) -> str:
    """Return a study's table: each variant's headlines, averaged over the points, with 95 % intervals over its training seeds."""
    taken = json.loads((ROOT / f"records/studies/{name}.runs.json").read_text(encoding="utf-8"))
    tested = {task: ROOT / f"records/study-{name}-{task}" for task in HEADLINES}
    found = {task: _by_agent(read_records(folder), task) for task, folder in tested.items() if folder.is_dir()}
    lines = ["variant | seeds | " + " | ".join(HEADLINES[task][1] for task in found) + " | trainable | steps | min a run"]
    lines.append(":--- | ---: | " + "---: | " * len(found) + "---: | ---: | ---:")
    for variant in dict.fromkeys(label.rpartition("-")[0] for label in taken):
        runs = {label: run for label, run in taken.items() if label.rpartition("-")[0] == variant}
        cells = [_over_seeds([values[label] for label in runs if label in values]) for values in found.values()]
        first = next(iter(runs.values()))
        minutes = statistics.mean(run["wall_time_s"] for run in runs.values()) / 60
        cells += [f"{first['trainable_parameters']:,}", f"{first['steps']}", f"{minutes:.1f}"]
        lines.append(f"{variant} | {len(runs)} | " + " | ".join(cells))
    classical = sorted({agent for values in found.values() for agent in values} - set(taken) - {"random", "bound"})
    for agent in classical:
        lines.append(
            f"_{agent}_ | – | "
            + " | ".join(_over_seeds([v[agent]] if agent in v else []) for v in found.values())
            + " | – | – | –"
        )
    return "\n".join(f"| {line} |" for line in lines)


def _by_agent(records: list[Record], task: str) -> dict[str, float]:
    metric, _, scale = HEADLINES[task]
    points: dict[str, list[float]] = {}
    for record in records:
        if metric in record.metrics:
            points.setdefault(record.agent, []).append(scale(record.metrics[metric].mean))
    return {agent: statistics.mean(values) for agent, values in points.items()}


def _over_seeds(values: list[float]) -> str:
    if not values:
        return "–"
    mean = statistics.mean(values)
    digits = 4 if abs(mean) < 1 else 2
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    half = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


MAKERS: dict[str, Callable[[str], str]] = {
    "table": lambda folder: markdown_table(read_records(ROOT / folder)),
    "study": study_table,
    "cost": cost_table,
}

if __name__ == "__main__":
    for path in (ROOT / "README.md", ROOT / "records/README.md"):
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
