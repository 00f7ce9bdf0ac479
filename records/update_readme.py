"""Write the documents' tables from the records that stand beside this file: ``python records/update_readme.py``."""

import json
import math
import re
import statistics
from collections.abc import Callable
from pathlib import Path

from scipy.stats import t as student

from wirelessgym.record import Record, read_records
from wirelessgym.report import markdown_table, markdown_verdict

ROOT = Path(__file__).resolve().parent.parent
OPENING = r"<!-- (?P<kind>table|verdict|metric|study|cost): (?P<name>[\w/.:-]+)(?P<options>(?: \w+=[\w,-]+)*) -->\n"
BLOCK = re.compile(rf"(?P<opening>{OPENING})(.*?)(?P<closing><!-- end of \w+ -->)", re.DOTALL)

# Headline of each task in a study's table: how it reads, and what one point's mean becomes before points are averaged.
HEADLINES: dict[str, tuple[str, str, Callable[[float], float]]] = {
    "precoding": ("sum_rate", "sum rate ↑ (bit/s/Hz)", float),
    "detection": ("nmse", "detection NMSE ↓", float),
    "channel_prediction": ("nmse", "prediction NMSE ↓ (dB)", lambda nmse: 10 * math.log10(nmse)),
}

# Records that show accuracy beside cost.
ACCURACY = {
    "precoding": "universal-precoding",
    "detection": "universal-detection",
    "channel_prediction": "universal-prediction-10db",
}


def with_tables(text: str) -> str:
    """Return the text with each ``<!-- KIND: NAME OPTION=VALUE -->`` block made anew; kinds are those of ``MAKERS``.

    Tables take ``rows=10``, the most rows that they may have, and ``agents=a,b``, whose rows to show.
    """

    def block(match: re.Match[str]) -> str:
        options = dict(option.split("=") for option in match["options"].split())
        made = MAKERS[match["kind"]](match["name"], **options)
        return f"{match['opening']}\n{made}\n\n{match['closing']}"

    return BLOCK.sub(block, text)


def headline_table(name: str, rows: str | None = None, agents: str = "") -> str:
    """Return a folder's tables, shortened on request; what is left out is said to be in the records."""
    records = read_records(ROOT / name)
    wanted = [agent for agent in agents.split(",") if agent]
    made = markdown_table(records, wanted, None if rows is None else int(rows))
    everybody = {record.agent for record in records if record.role == "agent"}
    left_out = sum(not re.search(rf"^\| {re.escape(agent)} \|", made, re.MULTILINE) for agent in everybody)
    more = "1 more agent is" if left_out == 1 else f"{left_out} more agents are"
    return f"{made} {more} in [the records]({name})." if left_out else made


def metric_table(name: str) -> str:
    """Return a folder's tables with another metric than the headline: ``FOLDER:METRIC``."""
    folder, _, metric = name.rpartition(":")
    records = [
        record.model_copy(update={"headline": metric, "higher_is_better": record.metrics[metric].higher_is_better})
        for record in read_records(ROOT / folder)
        if metric in record.metrics
    ]
    return markdown_table(records)


def cost_table(name: str) -> str:
    """Return the table of what decisions cost, beside the accuracy in the main records, averaged over their points."""
    costs = json.loads((ROOT / name).read_text(encoding="utf-8"))["costs"]
    scores = {task: _by_agent(read_records(ROOT / "records" / folder), task) for task, folder in ACCURACY.items()}
    lines = [
        "task | agent | accuracy | weights | trainable | memory (MB) | training (min) | 1 link (ms) | 64 links (ms)",
        ":--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---:",
    ]
    for cost in costs:
        score = scores[cost["task"]].get(cost["agent"])
        training = "–" if cost["training_s"] is None else f"{cost['training_s'] / 60:.1f}"
        cells = [cost["task"], cost["agent"], "–" if score is None else _number(score), f"{cost['weights']:,}"]
        cells += [f"{cost['parameters']:,}", f"{cost['memory_mb']:.0f}", training]
        lines.append(" | ".join(cells + [f"{_ms(p50)} ({_ms(p95)})" for p50, p95 in cost["latency_ms"].values()]))
    headlines = "; ".join(f"{HEADLINES[task][1]} in {folder}" for task, folder in ACCURACY.items())
    return (
        "\n".join(f"| {line} |" for line in lines) + f"\n\nAccuracy: {headlines}, averaged over its points. Latency: p50 (p95)."
    )


def study_table(name: str) -> str:
    """Return a study's table: each variant's headlines, averaged over the points, and by how much they differ from the first's.

    A difference is that of runs with the same training seed; its 95 % interval is over the seeds.
    """
    taken = json.loads((ROOT / f"records/studies/{name}.runs.json").read_text(encoding="utf-8"))
    variants: dict[str, list[str]] = {}
    for label in taken:
        variants.setdefault(label.rpartition("-")[0], []).append(label)
    tested = {task: ROOT / f"records/study-{name}-{task}" for task in HEADLINES}
    found = {task: _by_agent(read_records(folder), task) for task, folder in tested.items() if folder.is_dir()}
    first = next(iter(variants))
    titles = [f"{HEADLINES[task][1]} | less {first}'s" for task in found]
    lines = [" | ".join(["variant", "seeds", *titles, "trainable", "steps", "min a run"])]
    lines.append(":--- | ---: |" + " ---: |" * (2 * len(found)) + " ---: | ---: | ---:")
    for variant, labels in variants.items():
        cells = [cell for values in found.values() for cell in _mean_and_difference(values, variant, first, labels)]
        run = taken[labels[0]]
        minutes = statistics.mean((taken[label].get("cpu_time_s") or taken[label]["wall_time_s"]) / 60 for label in labels)
        cells += [f"{run['trainable_parameters']:,}", f"{run['steps']}", f"{minutes:.1f}"]
        lines.append(f"{variant} | {len(labels)} | " + " | ".join(cells))
    for agent in sorted({agent for values in found.values() for agent in values} - set(taken) - {"random", "bound"}):
        cells = [cell for values in found.values() for cell in (_number(values[agent]) if agent in values else "–", "–")]
        lines.append(f"_{agent}_ | – | " + " | ".join(cells) + " | – | – | –")
    return "\n".join(f"| {line} |" for line in lines)


def _mean_and_difference(values: dict[str, float], variant: str, first: str, labels: list[str]) -> tuple[str, str]:
    mine = {label.rpartition("-")[2]: values[label] for label in labels if label in values}
    if not mine:
        return "–", "–"
    mean = _number(statistics.mean(mine.values()))
    differences = [value - values[f"{first}-{seed}"] for seed, value in mine.items() if f"{first}-{seed}" in values]
    if variant == first or not differences:
        return mean, "–"
    digits = _digits(statistics.mean(mine.values()))
    text = f"{statistics.mean(differences):+.{digits}f}"
    if len(differences) == 1:
        return mean, text
    quantile = float(student.ppf(0.975, len(differences) - 1))
    half = quantile * statistics.stdev(differences) / math.sqrt(len(differences))
    return mean, f"{text} ± {half:.{digits}f}"


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _number(value: float) -> str:
    return f"{value:.{_digits(value)}f}"


def _digits(value: float) -> int:
    return 4 if abs(value) < 1 else 2


def _by_agent(records: list[Record], task: str) -> dict[str, float]:
    metric, _, scale = HEADLINES[task]
    points: dict[str, list[float]] = {}
    for record in records:
        if metric in record.metrics and (mean := record.metrics[metric].mean) is not None:
            points.setdefault(record.agent, []).append(scale(mean))
    return {agent: statistics.mean(values) for agent, values in points.items()}


MAKERS: dict[str, Callable[..., str]] = {
    "table": headline_table,
    "verdict": lambda folder: markdown_verdict(read_records(ROOT / folder)),
    "metric": metric_table,
    "study": study_table,
    "cost": cost_table,
}

if __name__ == "__main__":
    for path in (ROOT / "README.md", ROOT / "records/README.md"):
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
