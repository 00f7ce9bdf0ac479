"""Draw the documents' figures from the records that stand beside this file: ``python records/figures.py``."""

import json
import math
import statistics
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plot_style import COLOURS, INK, LINES, MARKERS, STYLE

from wirelessgym.record import Record, read_records

ROOT = Path(__file__).resolve().parent.parent
BOUND = (0, (5, 2))

# Records, axis, headline; agents from best to worst.
RESULTS = (
    (
        "universal-precoding",
        "SNR of the channel knowledge (dB)",
        "sum rate (bit/s/Hz)",
        ("universal", "robust_wmmse", "wmmse", "rzf"),
    ),
    ("universal-detection", "SNR (dB)", "detection NMSE", ("universal", "ep", "oamp", "lmmse_soft", "lmmse")),
    (
        "universal-prediction-10db",
        "speed (km/h)",
        "prediction NMSE at 10 dB",
        ("universal", "ar_beamdelay", "pad", "wiener", "hold"),
    ),
)
FEWEST = 2e-4  # errors below that rest on a handful of symbols


def results() -> Figure:
    """Curves of the main tables: universal, the best of the classical methods, and the bound."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, (folder, axis, headline, agents) in zip(figure.subplots(1, 3), RESULTS, strict=True):
        records = read_records(ROOT / "records" / folder)
        for index, agent in enumerate(agents):
            line = {
                "color": COLOURS[index % len(COLOURS)],
                "linestyle": LINES[index % len(LINES)],
                "marker": MARKERS[index],
                "markersize": 5,
            }
            _curve(axes, records, agent, **line, linewidth=2.2 if index == 0 else 1.3, zorder=3 if index == 0 else 2)
        _curve(axes, records, "bound", color=INK, linestyle=BOUND, linewidth=1.2)
        if "NMSE" in headline:
            axes.set_yscale("log")
        if folder == "universal-detection":
            axes.set_ylim(bottom=FEWEST)
        axes.set_xlabel(axis)
        axes.set_title(headline, loc="left", fontsize=10)
        axes.legend(fontsize=8, handlelength=3, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3)
    return figure


def convergence(name: str, task: str) -> Figure:
    """Training loss of a study's variants, less that of its first, on the same fresh episodes; bands: lowest and highest seed."""
    runs = json.loads((ROOT / f"records/studies/{name}.runs.json").read_text(encoding="utf-8"))
    losses: dict[str, dict[str, list[float]]] = {}
    for label, run in runs.items():
        variant, _, seed = label.rpartition("-")
        if task in run["loss"]:
            losses.setdefault(variant, {})[seed] = [math.nan if loss is None else loss for loss in run["loss"][task]]
    steps = next(iter(runs.values()))["steps"]
    figure = Figure(figsize=(11, 4), layout="constrained")
    whole, difference = figure.subplots(1, 2)
    first = next(iter(losses))
    for index, (variant, curves) in enumerate(losses.items()):
        tenths = len(next(iter(curves.values())))
        places = [(tenth + 0.5) * steps / tenths for tenth in range(tenths)]
        colour, dashes = COLOURS[index % len(COLOURS)], LINES[index % len(LINES)]
        gains = [
            [before - loss for before, loss in zip(losses[first][s], curves[s], strict=True)]
            for s in curves
            if s in losses[first]
        ]
        for axes, lines in ((whole, [[-loss for loss in curve] for curve in curves.values()]), (difference, gains)):
            tenth = list(zip(*lines, strict=True))
            axes.plot(places, list(map(statistics.mean, tenth)), color=colour, linestyle=dashes, label=variant)
        difference.fill_between(places, list(map(min, tenth)), list(map(max, tenth)), color=colour, alpha=0.12, linewidth=0)
    whole.set_title("sum rate in training (bit/s/Hz), mean of the seeds", loc="left", fontsize=10)
    difference.set_title(f"the same, less {first}'s; bands: all seeds", loc="left", fontsize=10)
    for axes in (whole, difference):
        axes.set_xlabel("training step")
        axes.legend(fontsize=8, handlelength=3, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3)
    return figure


def _curve(axes: Axes, records: list[Record], agent: str, **style: object) -> None:
    points = [(float(r.sweep.value), r.value) for r in records if r.agent == agent and r.value and r.sweep]
    points.sort(key=lambda point: point[0])
    places = [place for place, _ in points]
    axes.plot(places, [value.mean for _, value in points], label=agent, **style)
    low, high = zip(*(value.ci95 for _, value in points if value.ci95), strict=True)
    axes.fill_between(places, low, high, color=style["color"], alpha=0.15, linewidth=0)


if __name__ == "__main__":
    with matplotlib.rc_context(rc=STYLE):
        results().savefig(ROOT / "docs/results.png", dpi=130)
        convergence("precoding", "precoding").savefig(ROOT / "docs/convergence.png", dpi=130)
