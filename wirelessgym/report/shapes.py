"""Shapes of figures as SVG: lines, bands and markers. Agents differ by colour, marker and line style at once.

Colours are classes (``s0`` to ``s7``), so that the page decides what they look like on light and dark paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from markupsafe import escape

NUM_COLOURS = 8
DASHES = ("", "7 3", "6 2.5 1.5 2.5", "2.5 2", "10 3 2 3 2 3")
LIMIT_DASHES = {"floor": "1.5 3", "bound": "6 3.5", "genie": "9 3 1.5 3"}
Points: TypeAlias = Sequence[tuple[float, float]]

_UNIT_MARKERS = (
    "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",
    "M-.88-.88H.88V.88H-.88z",
    "M0-1.15L1.05.75H-1.05z",
    "M0-1.2L1.2 0L0 1.2L-1.2 0z",
    "M0 1.15L1.05-.75H-1.05z",
    "M-.35-1.1H.35V-.35H1.1V.35H.35V1.1H-.35V.35H-1.1V-.35H-.35z",
    "M-.55-1.1L0-.55L.55-1.1L1.1-.55L.55 0L1.1.55L.55 1.1L0 .55L-.55 1.1L-1.1.55L-.55 0L-1.1-.55z",
    "M-1.15 0L.75-1.05V1.05z",
    "M1.15 0L-.75-1.05V1.05z",
    "M-1.1 0L-.55-.95H.55L1.1 0L.55.95H-.55z",
)
_TRIANGLE = "M0 1.2L1.1-.8H-1.1z"


def series_class(role: str, index: int) -> str:
    """The class of a curve: a colour for agents, ink for the others."""
    return f"s{index % NUM_COLOURS}" if role == "agent" else "limit"


def dashes(role: str, index: int) -> str:
    """The stroke's dashes; empty for a solid line."""
    return DASHES[index % len(DASHES)] if role == "agent" else LIMIT_DASHES.get(role, "")


def marker(index: int, x: float, y: float, size: float = 4.2) -> str:
    """A filled marker at a place."""
    shape = _UNIT_MARKERS[index % len(_UNIT_MARKERS)]
    return f'<path class="mark" d="{shape}" transform="translate({x:.1f} {y:.1f}) scale({size:g})"/>'


def clipped_marker(x: float, y: float) -> str:
    """An open triangle for what lies below the axis."""
    place = f"translate({x:.1f} {y:.1f}) scale(5)"
    return f'<path class="clipped" d="{_TRIANGLE}" transform="{place}" vector-effect="non-scaling-stroke"/>'


def curve(points: Points, dash: str) -> str:
    """A line through places."""
    stroke = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="curve" d="{_path(points)}"{stroke}/>'


def band(upper: Points, lower: Points) -> str:
    """The area between two lines."""
    return f'<path class="band" d="{_path([*upper, *reversed(lower)])}z"/>'


def text(x: float, y: float, words: str, anchor: str = "middle", name: str = "") -> str:
    """Words at a place, as they are."""
    kind = f' class="{name}"' if name else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    """A straight line."""
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def key(role: str, index: int, words: str) -> str:
    """A legend's sample of a curve with the name behind it, as HTML."""
    dash = dashes(role, index)
    stroke = f' stroke-dasharray="{dash}"' if dash else ""
    mark = marker(index, 15, 6, 3.8) if role == "agent" else ""
    sample = f'<path class="curve" d="M0 6H30"{stroke}/>{mark}'
    svg = f'<svg class="{series_class(role, index)}" viewBox="0 0 30 12" aria-hidden="true">{sample}</svg>'
    return f"{svg}<span>{escape(words)}</span>"


def _path(points: Points) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
