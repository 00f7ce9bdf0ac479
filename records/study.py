"""Train every variant of a study with several seeds, and compare them all on held-out episodes.

``python records/study.py backbone train [PART/PARTS]`` trains: finished runs are skipped, and parts may run side by side.
``python records/study.py backbone compare`` makes ``records/study-NAME-TASK`` and, beside the study's settings, what runs took
and how its loss fell. Runs lie in ``runs/studies``.
"""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

TENTHS = 10
CPU_TIME = "cpu_time_s"  # of training and drawing: on shared cores, what wall time isn't
ROOT = Path(__file__).resolve().parent.parent


def study(name: str) -> dict[str, Any]:
    """Read a study's settings."""
    return tomllib.loads((ROOT / f"records/studies/{name}.toml").read_text(encoding="utf-8"))


def runs(name: str) -> Iterator[tuple[str, int, Path]]:
    """(variant, seed, folder) of every run, all variants of one seed before those of the next."""
    settings = study(name)
    for seed in settings["seeds"]:
        for variant in settings["variants"]:
            yield variant, seed, ROOT / "runs/studies" / name / f"{variant}-{seed}"


def configuration(name: str, variant: str, seed: int) -> dict[str, Any]:
    """The training configuration of a run. A variant on one task alone gets as many steps on it as the others spend there."""
    settings = study(name)
    changes = dict(settings["variants"][variant])
    config = settings["training"] | {"seed": seed}
    only, share = changes.pop("only", None), changes.pop("share", 1.0)
    if only is not None:
        config["tasks"] = [task for task in config["tasks"] if task["task"] == only]
        for key in ("steps", "warmup_steps"):
            config[key] = round(config[key] * share)
    return config | changes


def train(name: str, part: str = "1/1") -> None:
    """Train the runs of one part that aren't finished."""
    from wirelessgym.train import train as run

    index, parts = map(int, part.split("/"))
    for number, (variant, seed, folder) in enumerate(runs(name)):
        if number % parts != index - 1 or _finished(name, variant, seed, folder):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{variant}, seed {seed}", flush=True)
        begun = _cpu_time_s()
        run(configuration(name, variant, seed), folder, progress=False)
        (folder / CPU_TIME).write_text(f"{_cpu_time_s() - begun:.0f}\n", encoding="utf-8")


def compare(name: str) -> None:
    """Compare all finished runs on the study's tests."""
    cards = {f"{variant}-{seed}": folder / "last/card.json" for variant, seed, folder in runs(name)}
    taken = {
        label: _taken(card) | {"loss": _curve(card.parents[1] / "log.csv")} for label, card in cards.items() if card.is_file()
    }
    (ROOT / f"records/studies/{name}.runs.json").write_text(json.dumps(taken, indent=1) + "\n", encoding="utf-8")
    for test in study(name)["tests"]:
        agents = list(test["classical"])
        for variant, seed, folder in runs(name):
            card = folder / "last/card.json"
            if card.is_file() and study(name)["variants"][variant].get("only", test["task"]) == test["task"]:
                agent = json.loads(card.read_text())["agent"]
                agents.append(f'{agent}:checkpoint="{folder.relative_to(ROOT)}/last":seed={seed}:label="{variant}-{seed}"')
        out = ROOT / "runs/records" / f"study-{name}-{test['task']}"
        shutil.rmtree(out / "records", ignore_errors=True)  # of other settings; finished blocks stay
        command = [sys.executable, "-m", "wirelessgym", "compare", test["task"], "--agents", ",".join(agents)]
        subprocess.run([*command, *test["arguments"].split(), "--seed", "7", "--out", str(out)], cwd=ROOT, check=True)
        target = ROOT / "records" / out.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(out / "records", target)


def _finished(name: str, variant: str, seed: int, folder: Path) -> bool:
    """Whether a run with just these settings has come to its end."""
    from wirelessgym.train.config import read_configuration

    card = folder / "last/card.json"
    if not card.is_file():
        return False
    training, wanted = json.loads(card.read_text())["training"], read_configuration(configuration(name, variant, seed))
    return training["configuration"] == wanted.plain() and training["steps"] == wanted.steps


def _cpu_time_s() -> float:
    taken = os.times()
    return taken.user + taken.system + taken.children_user + taken.children_system


def _taken(path: Path) -> dict[str, Any]:
    card, cpu_time = json.loads(path.read_text(encoding="utf-8")), path.parents[1] / CPU_TIME
    training = card["training"]
    return {
        "steps": training["steps"],
        "episodes": training["episodes"],
        "wall_time_s": round(training["wall_time_s"]),
        "cpu_time_s": int(cpu_time.read_text()) if cpu_time.is_file() else None,
        "trainable_parameters": card["trainable_parameters"],
        "git": training["git"],
    }


def _curve(log: Path) -> dict[str, list[float | None]]:
    """Mean training loss of each task entry in every tenth of a run; None where there was none."""
    rows = list(csv.DictReader(log.open(encoding="utf-8")))
    tenths: dict[str, list[list[float]]] = {}
    for row in rows:
        tenth = (int(row["step"]) - 1) * TENTHS // len(rows)
        if math.isfinite(loss := float(row["loss"])):
            tenths.setdefault(row["task"], [[] for _ in range(TENTHS)])[tenth].append(loss)
    return {task: [round(mean(losses), 4) if losses else None for losses in each] for task, each in tenths.items()}


if __name__ == "__main__":
    {"train": train, "compare": compare}[sys.argv[2]](sys.argv[1], *sys.argv[3:])
