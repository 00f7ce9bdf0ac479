"""Instructions: what the language model is told about a task, generated from the task itself.

``[task identifier | task and data description | instruction]``, as in Zheng and Dai, arXiv 2412.20772. The words are the task's;
numbers are those of its scenario. A new task therefore gets its instruction without code. What varies between episodes (noise,
speed, the quality of channel knowledge) is left to the observation, so the same text holds over a whole sweep.
"""

from __future__ import annotations

from wirelessgym.fields import Field
from wirelessgym.scenario import FloatSpan, span
from wirelessgym.spec import TaskSpec


def instruction(task: TaskSpec) -> str:
    """Return the instruction for a task: the same text for the same settings.

    Example:
        ``precoding | 4 users, 8x8 antennas, 2.4 GHz, 0.5 ms slots. csi[4x64] channel h_k of each user, noise power, tx power |
        Maximise the downlink sum rate: precoder[4x64]``
    """
    seen = ", ".join(map(_told, task.observation_fields))
    wanted = ", ".join(map(_sized, task.action_fields))
    return f"{_words(task.id)} | {_setting(task)}. {seen} | {task.purpose}: {wanted}"


def _setting(task: TaskSpec) -> str:
    """The scenario's numbers, as far as the task uses them."""
    scenario, panel = task.scenario, task.scenario.panel
    # Tasks with a channel may take fewer users or subcarriers than the scenario has.
    taken, subcarriers = task.channel_size
    users: FloatSpan = scenario.num_users if taken == scenario.max_users else taken
    band = "" if subcarriers == 1 else f"{subcarriers} subcarriers at "
    return ", ".join(
        [
            f"{_span(users)} user{'' if users == 1 else 's'}",
            f"{panel.rows}x{panel.columns}{'x2' if panel.polarisation == 'dual' else ''} antennas",
            f"{band}{scenario.carrier_frequency_hz / 1e9:g} GHz",
            f"{scenario.slot_duration_s * 1e3:g} ms slots",
        ]
    )


def _told(field: Field) -> str:
    """Name, shape and meaning; for single numbers and flags the name alone."""
    if not field.shape or field.dtype == "bool":
        return _words(field.name)
    return f"{_sized(field)} {field.meaning.partition(',')[0]}"


def _sized(field: Field) -> str:
    """Name and shape, and the unit if it has a name."""
    inside = "x".join(map(str, field.shape)) + (f" {field.unit}" if field.unit.isalpha() else "")
    return f"{_words(field.name)}[{inside.strip()}]" if inside else _words(field.name)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _span(value: FloatSpan) -> str:
    low, high = span(value)
    return f"{low:g}" if low == high else f"{low:g}{'-' if low >= 0 else ' to '}{high:g}"
