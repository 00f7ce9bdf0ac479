"""Gather learning curves from run folders and draw them: ``python records/learning_curves.py [NAME=FOLDER ...]``.

Each run's validations join ``records/learning-curves.json``, in place of those that had the name before; from all that is there
``docs/learning-curves.png`` is drawn, one panel per task and scenario, and a table printed. Episodes are those of all entries of
the task in the run's configuration. A run that trained on several entries of a task is validated on the first.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plot_style import COLOURS, LINES, MARKERS, STYLE

from wirelessgym.io import write_text_atomically
from wirelessgym.registry import make_task
from wirelessgym.train.config import read_configuration
from wirelessgym.train.run_folder import CONFIG
from wirelessgym.train.sampling import uses

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "records/learning-curves.json"
PICTURE = ROOT / "docs/learning-curves.png"

Curves = dict[str, dict[str, Any]]  # by name: task, metric, scenario, overrides; episodes, seconds and values


def curves_of(name: str, folder: Path) -> Curves:
    """The learning curve of each task that a run was validated on, by ``name``, or ``name: task`` where there are several."""
    config = read_configuration(folder / CONFIG)
    with (folder / "validation.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found: Curves = {}
    tasks = list(dict.fromkeys(entry.task for entry in config.tasks))
    for task in tasks:
        entry = next(entry for entry in config.tasks if entry.task == task)
        own = [row for row in rows if row["task"] == task]  # the label of a task's first entry is the task
        if not own:
            continue
        found[name if len(tasks) == 1 else f"{name}: {task}"] = {
            "task": task,
            "metric": own[0]["metric"],
            "scenario": entry.make().scenario.id,
            "overrides": entry.overrides,
            "episodes": [_episodes(config, task, int(row["step"])) for row in own],
            "seconds": [float(row["seconds"]) for row in own],
            "values": [float(row["value"]) for row in own],
        }
    return found


def picture(curves: Curves) -> Figure:
    """Validated metric against episodes, a panel per task and scenario; errors on a logarithmic axis too. It has no step 0."""
    panels = list(dict.fromkeys((curve["task"], curve["scenario"]) for curve in curves.values()))
    figure = Figure(figsize=(4.2 * len(panels), 4.4), layout="constrained")
    for axes, (task, scenario) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        chosen = {name: curve for name, curve in curves.items() if (curve["task"], curve["scenario"]) == (task, scenario)}
        for index, (name, curve) in enumerate(chosen.items()):
            _draw(axes, index, name, curve)
        metric = make_task(task).headline
        axes.set_xscale("log")
        if not metric.higher_is_better and not metric.decibel:
            axes.set_yscale("log")
        axes.set_xlabel("training episodes of the task")
        unit = "" if metric.unit == "1" else f" ({metric.unit})"
        axes.set_title(f"{task}, {scenario}: {metric.name}{unit}", loc="left", fontsize=9)
        axes.legend(fontsize=8, handlelength=3, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    return figure


def table(curves: Curves) -> str:
    """Episodes, hours and the metric before and after, in Markdown."""
    lines = ["| run | task | episodes | hours | metric | before | after |", "| :--- | :--- | ---: | ---: | :--- | ---: | ---: |"]
    for name, curve in curves.items():
        values = curve["values"]
        hours = curve["seconds"][-1] / 3600
        lines.append(
            f"| {name} | {curve['task']} | {curve['episodes'][-1]:,} | {hours:.1f} | {curve['metric']} "
            f"| {values[0]:.4g} | {values[-1]:.4g} |"
        )
    return "\n".join(lines)


def _episodes(config: Any, task: str, step: int) -> int:
    counts = zip(uses(config, step), config.tasks, strict=True)
    return sum(count * entry.batch for count, entry in counts if entry.task == task)


def _draw(axes: Axes, index: int, name: str, curve: dict[str, Any]) -> None:
    points = [(n, value) for n, value in zip(curve["episodes"], curve["values"], strict=True) if n > 0]
    axes.plot(
        [n for n, _ in points],
        [value for _, value in points],
        label=name.removesuffix(f": {curve['task']}"),
        color=COLOURS[index % len(COLOURS)],
        linestyle=LINES[index % len(LINES)],
        marker=MARKERS[index % len(MARKERS)],
        markersize=3,
    )


def main(arguments: list[str]) -> None:
    """Gather the runs that are named, keep and draw all."""
    curves: Curves = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not equals:
            raise SystemExit(f"learning_curves: expected NAME=FOLDER, got {argument!r}")
        kept = {key: curve for key, curve in curves.items() if key != name and not key.startswith(f"{name}: ")}
        curves = kept | curves_of(name, Path(folder))
    if not curves:
        raise SystemExit("learning_curves: no runs; expected NAME=FOLDER ...")
    write_text_atomically(KEPT, json.dumps(curves, indent=1) + "\n")
    with matplotlib.rc_context(rc=STYLE):
        picture(curves).savefig(PICTURE, dpi=130)
    print(table(curves))


if __name__ == "__main__":
    main(sys.argv[1:])
