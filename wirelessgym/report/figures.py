"""Figures: curves with bands for sweeps, dots with intervals for single points, as SVG to stand inside a page.

Agents differ by colour, marker and line style at once. Colours: Okabe and Ito, "Color universal design", 2008.
"""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from wirelessgym.options import is_number
from wirelessgym.record import Record, Value
from wirelessgym.report.tables import Section, arrow, by_role, label, measured, unit_label

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B3A8C", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
LINES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (4, 1.5, 1, 1.5)), (0, (2, 1)), (0, (8, 2, 1, 2, 1, 2)))
INK, FAINT = "#222222", "#D9D9D9"
WIDTH_INCHES = 5.8
LOGARITHMIC_FROM = 20.0  # errors that span more than this factor get a logarithmic axis
FLOOR_WITHIN = 3.0  # a floor further away than this many times the spread of all others is named beside the axis

STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "wirelessgym",
}


def sweep_figure(section: Section) -> str:
    """Headline metric over the swept field with 95 % bands, as SVG."""
    with matplotlib.rc_context(rc=STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 4.2), layout="constrained")
        axes = figure.add_subplot()
        values = [value for value, _ in section.points]
        numeric = all(is_number(value) for value in values)
        places = [float(value) for value in values] if numeric else [float(i) for i in range(len(values))]
        style = count()
        for agent in section.agents:
            found = [_of(records, agent) for _, records in section.points]
            line = [(x, r.value) for x, r in zip(places, found, strict=True) if r and r.value and r.value.ci95]
            if line:
                role = next(r.role for r in found if r)
                _curve(axes, agent, role, line, next(style) if role == "agent" else 0)
        if not numeric:
            axes.set_xticks(places, [_plain(label(value)) for value in values])
        elif len(places) <= 9:
            axes.set_xticks(places)
        _scale(axes.yaxis, axes.set_yscale, section.records)
        axes.set_xlabel(section.axis or "")
        axes.set_ylabel(_label(section.first))
        axes.margins(x=0.03)
        handles, names = axes.get_legend_handles_labels()
        # An entry takes about a twelfth of an inch per letter, and half an inch for its line.
        columns = max(1, int(WIDTH_INCHES / (0.55 + 0.085 * max(map(len, names)))))
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), columns), handlelength=3.4)
        return _svg(figure, f"{section.first.headline} over {section.axis} for {', '.join(section.agents)}")


def _curve(axes: Axes, agent: str, role: str, line: Sequence[tuple[float, Value]], index: int) -> None:
    places = [x for x, _ in line]
    means = [value.mean if value.mean is not None else math.nan for _, value in line]
    low, high = ([value.ci95[side] for _, value in line if value.ci95] for side in (0, 1))
    if role == "agent":
        colour, dashes = COLOURS[index % len(COLOURS)], LINES[index % len(LINES)]
        marker, size = MARKERS[index % len(MARKERS)], 5.0
    else:
        colour, dashes, marker, size = INK, (0, (1, 1.5)) if role == "floor" else (0, (5, 2)), "", 0.0
    axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(places, means, color=colour, linestyle=dashes, marker=marker, markersize=size, linewidth=1.5, label=_plain(agent))


def point_figure(section: Section) -> str:
    """Headline metric of every agent at one point: dots with 95 % intervals, best on top, as SVG."""
    records = by_role(section.records)
    shown = [(r, r.value) for r in records if r.value and r.value.mean is not None and r.value.ci95]
    if not shown:
        return ""
    sign = -1 if shown[0][0].higher_is_better else 1
    agents = sorted((s for s in shown if s[0].role == "agent"), key=lambda s: sign * (s[1].mean or 0.0))
    limits = [s for s in shown if s[0].role != "agent"]
    with matplotlib.rc_context(rc=STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 0.95 + 0.3 * max(len(agents), 2)), layout="constrained")
        axes = figure.add_subplot()
        for row, (_, value) in enumerate(agents):
            low, high = value.ci95 or (0.0, 0.0)
            colour = COLOURS[0] if row == 0 else INK
            axes.plot([low, high], [row, row], color=colour, linewidth=2.4, solid_capstyle="butt")
            axes.plot([value.mean or 0.0], [row], color=colour, marker="o", markersize=5.5, linestyle="")
        near = [s for s in limits if s[0].role != "floor" or _near(s[1], [value for _, value in shown if value is not s[1]])]
        for record, value in near:
            low, high = value.ci95 or (0.0, 0.0)
            dashes = (0, (1, 1.5)) if record.role == "floor" else (0, (5, 2))
            axes.axvspan(low, high, color=INK, alpha=0.1, linewidth=0)
            axes.axvline(value.mean or 0.0, color=INK, linestyle=dashes, linewidth=1.2, label=_plain(record.agent))
        axes.set_yticks(range(len(agents)), [_plain(record.agent) for record, _ in agents])
        axes.set_ylim(max(len(agents), 1) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        _scale(axes.xaxis, axes.set_xscale, [s[0] for s in agents + near])
        axes.set_xlabel(_label(records[0]))
        for record, value in (s for s in limits if s not in near):
            side = "left" if record.higher_is_better else "right"
            floor = measured(value)
            text = f"{_plain(record.agent)} at {floor.text} {floor.interval}, off to the {side}"
            figure.text(0.02, 0.995, text, va="top", color=INK, fontsize=9)
        if near:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2, handlelength=2.6)
        return _svg(figure, f"{records[0].headline} of {', '.join(record.agent for record, _ in agents)}")


def _plain(text: str) -> str:
    """Text that matplotlib draws as it is: no formula between dollar signs, no leading underscore, which hides a label."""
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def _of(records: Iterable[Record], agent: str) -> Record | None:
    return next((record for record in records if record.agent == agent), None)


def _near(floor: Value, others: Sequence[Value]) -> bool:
    """Whether a floor leaves room for telling the others apart."""
    ends = [end for value in others for end in value.ci95 or ()]
    if len(ends) < 4 or floor.mean is None:
        return True
    if min(ends) > 0 and floor.mean > LOGARITHMIC_FROM * min(ends):
        return True
    return abs(floor.mean - (min(ends) + max(ends)) / 2) < FLOOR_WITHIN * (max(ends) - min(ends))


def _label(record: Record) -> str:
    unit = unit_label(record.value.unit) if record.value else ""
    better = "higher is better" if record.higher_is_better else "lower is better"
    return f"{record.headline}{f' ({unit})' if unit else ''} {arrow(record.higher_is_better)} {better}"


def _scale(axis: Axis, set_scale: Callable[[str], None], records: Sequence[Record]) -> None:
    """Logarithmic for errors that span more than an order of magnitude."""
    if any(record.higher_is_better for record in records):
        return
    ends = [end for r in records if r.value and r.value.ci95 for end in r.value.ci95]
    if not ends or min(ends) <= 0 or max(ends) / min(ends) < LOGARITHMIC_FROM:
        return
    set_scale("log")
    decades = math.log10(max(ends) / min(ends))
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _svg(figure: Figure, title: str) -> str:
    """Return the figure as an ``<svg>`` element whose ids are its own and which names no outside address."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    prefix = f"f{zlib.crc32(text.encode()):x}-"  # several figures share one page, and ids must not
    text = re.sub(r'(\bid=")', rf"\g<1>{prefix}", text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", text)
    label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
