"""Words of a report: results, settings and caveats as sentences."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import pairwise

from wirelessgym.record import Record
from wirelessgym.registry import UnknownIdError, task_class
from wirelessgym.report.labels import capitalised, field_name, field_unit, metric_name
from wirelessgym.report.tables import ABSENT, Section, arrow, best_agent, interval, label, number, p_value, unit_label
from wirelessgym.scenario import TOP_LEVEL_KEYS, channel_label

SIGNIFICANCE = 0.05
QUANTITIES = (
    ("snr_db", "SNR", "dB"),
    ("tx_power_dbw", "transmit power", "dBW"),
    ("noise_power_dbw", "noise power", "dBW"),
    ("csi_snr_db", "CSI SNR", "dB"),
    ("speed_kmh", "speed", "km/h"),
)


def title(records: Sequence[Record]) -> str:
    """A title that names tasks and scenarios."""
    tasks = [task.replace("_", " ") for task in dict.fromkeys(record.task for record in records)]
    scenarios = list(dict.fromkeys(record.scenario for record in records))
    text = listing(tasks) + (f" on {listing(scenarios)}" if len(scenarios) <= 3 else f" in {len(scenarios)} scenarios")
    return capitalised(text)


def listing(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def heading(section: Section) -> str:
    """Task and scenario, and the swept field."""
    text = f"{section.task.replace('_', ' ')} on {section.scenario}"
    return capitalised(text) + (f", over {field_name(section.axis)}" if section.axis else "")


def at(axis: str | None, value: object) -> str:
    """A value of the swept field with its unit: ``10 dB``."""
    unit = field_unit(axis) if axis else ""
    return label(value) + (f" {unit}" if unit else "")


def caption(section: Section) -> str:
    """What the numbers of a table are: number of episodes, seed, intervals."""
    first = section.first
    return (
        f"means over n = {first.episodes:,} episodes (seed {first.seed}), 95\u00a0% bootstrap intervals in brackets, "
        "best agent in bold."
    )


def figure_caption(section: Section) -> str:
    """What a figure shows."""
    shape = "Bands" if section.axis else "Bars"
    first = section.first
    return (
        f"Mean {metric_name(first.headline)}{unit_of(first)}, {'higher' if first.higher_is_better else 'lower'} is better. "
        f"{shape}: 95\u00a0% bootstrap intervals, n = {first.episodes:,} episodes, the same for every agent."
    )


def figure_title(section: Section) -> str:
    """What stands above a figure: metric, unit and direction."""
    first = section.first
    unit = unit_label(first.value.unit) if first.value else ""
    better = "higher" if first.higher_is_better else "lower"
    name = capitalised(metric_name(first.headline)) + (f" ({unit})" if unit else "")
    return f"{name}, {better} is better {arrow(first.higher_is_better)}"


def pictures_caption(section: Section, value: str) -> str:
    """What pictures show."""
    where = f" at {field_name(section.axis)} {at(section.axis, value)}" if section.axis else ""
    return f"The first step of episode 0{where}, as the best agents here played it."


def unit_of(record: Record) -> str:
    """The words "in UNIT" after a space, or nothing for pure numbers."""
    unit = unit_label(record.value.unit) if record.value else ""
    return f" in {unit}" if unit else ""


def result(section: Section) -> str:
    """The result at a single point; nothing for sweeps, which a figure tells better."""
    if section.axis is not None:
        return ""
    winner = best_agent(section.records, section.first.headline)
    record = next((r for r in section.records if r.agent == winner), None)
    if record is None or record.value is None or record.value.mean is None or record.value.ci95 is None:
        return "" if any(r.value for r in section.records if r.role == "agent") else "No agent finished."
    value, ci95 = record.value, record.value.ci95
    unit = f" {unit_label(value.unit)}" if unit_label(value.unit) else ""
    text = f"Best {metric_name(record.headline)}: {record.agent}, {_spread(value.mean, ci95)}{unit} {interval(*ci95)}"
    if record.paired:
        text += f"; {_against_reference(record)}"
    if record.gap_to_bound:
        gap = record.gap_to_bound
        amount = f"{_spread(gap.mean, gap.ci95)} {interval(*gap.ci95)}"
        text += f"; it stays {amount} short of the bound" if gap.ci95[0] > 0 else "; it reaches the bound"
    return text + "."


def _spread(mean: float | None, ci95: tuple[float, float]) -> str:
    return number(mean, (ci95[1] - ci95[0]) / 2)


def _against_reference(record: Record) -> str:
    paired = record.paired
    if paired is None:
        return ""
    p = p_value(paired.p_value_corrected)
    numbers = f"{interval(*paired.ci95)}, p {p if p.startswith('<') else '= ' + p}"
    if paired.p_value_corrected >= SIGNIFICANCE:
        return f"it can't be told from {paired.reference} on the same episodes (difference {numbers})"
    amount = number(abs(paired.difference), (paired.ci95[1] - paired.ci95[0]) / 2)
    return f"{amount} {'better' if paired.better else 'worse'} than {paired.reference} on the same episodes ({numbers})"


def setting(section: Section) -> str:
    """The scenario in one line, from the settings that the record keeps."""
    settings, options = dict(section.first.scenario_settings), section.first.task_options
    noise_fixed = section.axis == "noise_power_dbw" or settings.get("noise_power_dbw") is not None
    if noise_fixed:
        settings.pop("snr_db", None)  # not used then
    else:
        settings.pop("tx_power_dbw", None)  # the SNR is relative to it
    if section.axis is not None:
        settings.pop(section.axis, None)
    panel = settings.get("panel")
    parts = ["" if _swept_channel(section) else channel_label(settings)]
    parts.append(counted(settings["num_users"], "user") if "num_users" in settings else "")
    parts.append(
        f"{panel['rows']} × {panel['columns']} antennas" if isinstance(panel, dict) and not _swept_panel(section) else ""
    )
    for key, name, unit in QUANTITIES:
        if settings.get(key) is not None:
            parts.append(f"{name} {span(settings[key])} {unit}")
    parts.append(counted(settings["horizon"], "step") if "horizon" in settings else "")
    usual = _usual_options(section.task)
    parts += [f"{key} = {value}" for key, value in options.items() if key != section.axis and value != usual.get(key)]
    return ", ".join(part for part in parts if part)


def channels(records: Sequence[Record]) -> str:
    """Where the records' channels come from."""
    return "; ".join(dict.fromkeys(map(_channel, records)))


def _channel(record: Record) -> str:
    tables = record.provenance.spec_version  # all that older records say
    return record.channel or (f"3GPP TR 38.901, version {tables}" if tables else channel_label(record.scenario_settings))


def counted(amount: object, noun: str) -> str:
    """``1 user``, ``4 users``, ``2 to 6 users``."""
    return f"{span(amount)} {noun}{'s' * (amount != 1)}"


def _swept_panel(section: Section) -> bool:
    return (section.axis or "").startswith("panel")


def _swept_channel(section: Section) -> bool:
    axis = (section.axis or "").partition(".")[0]
    return axis == "channel" or axis in TOP_LEVEL_KEYS


def _usual_options(task: str) -> dict[str, object]:
    """Defaults of a task's own options; empty for a task that isn't installed here."""
    try:
        return {field.name: field.default for field in fields(task_class(task))}
    except UnknownIdError:
        return {}


def commands(records: Sequence[Record]) -> list[str]:
    """The command lines that make the records again; those of one sweep as one."""
    found: dict[tuple[str, ...], dict[str, None]] = {}
    for record in records:
        words = shlex.split(record.command)
        at = words.index("--sweep") + 1 if "--sweep" in words else None
        axis, _, value = words[at].partition("=") if at is not None else ("", "", "")
        if at is not None:
            words[at] = axis
        found.setdefault(tuple(words), {})[value] = None
    return [
        shlex.join(f"{word}={','.join(values)}" if before == "--sweep" else word for before, word in pairwise(("", *words)))
        for words, values in found.items()
        if words
    ]


def span(value: object) -> str:
    """A number, or a range in words."""
    if isinstance(value, list | tuple):
        return f"{value[0]:g} to {value[1]:g}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def machine(hardware: Mapping[str, str | int]) -> str:
    """Processor, cores and system."""
    return ", ".join(f"{value} cores" if key == "cores" else str(value) for key, value in hardware.items())


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def last_line(traceback: str | None) -> str:
    """What was raised, without where."""
    lines = (traceback or "").strip().splitlines()
    return lines[-1] if lines else ABSENT


def notes(records: Sequence[Record]) -> list[str]:
    """What the records say about themselves, and what the numbers are not."""
    said = [f"{agent}: {note}" for agent, note in dict.fromkeys((r.agent, note) for r in records for note in r.notes)]
    for record in records:
        if record.fallbacks is not None and record.deadline_s is not None:
            said.append(
                f"{record.agent} had {record.deadline_s * 1e3:g} ms for each decision; {record.fallbacks:,} answers "
                f"came late and were replaced by {record.fallback or 'the fallback'}'s."
            )
    seeds = {record.seed for record in records}
    said.append(
        "Intervals resample the episodes of "
        + ("one seed" if len(seeds) == 1 else "each seed")
        + ": they say how far other episodes of the same scenario would move a mean, not how an agent does in other "
        "scenarios, and for a trained agent not how far another training run would."
    )
    if any(record.paired for record in records):
        said.append(
            "Differences are paired, episode by episode. p is that of a two-sided paired t-test, corrected after Holm "
            "over the agents compared at the same point."
        )
    if any(record.standing for record in records):
        said.append(
            "A verdict compares each agent with the best of all the others at each point, on the same episodes: ahead or behind "
            "where the 95\u00a0% interval of the paired difference leaves out 0 and p, corrected after Holm over the points, is "
            "below 0.05, undecided elsewhere. The best of the others is chosen on these episodes too, which makes leads too "
            "small rather than too large."
        )
    if any(record.role == "bound" for record in records):
        said.append("The bound is the best value known for these episodes. It uses what no agent sees.")
    if any(record.role == "genie" for record in records):
        said.append("A genie sees what no agent sees, the true state. It is a yardstick and no rival.")
    if any(record.role == "floor" for record in records):
        said.append("The floor is what an agent gets that ignores its observation.")
    if any(record.latency_s for record in records):
        said.append(
            "Latency is the time for one decision, one observation at a time on one thread of the machine named above; "
            "it depends on that machine and on what else ran there."
        )
    return said
