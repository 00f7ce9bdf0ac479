"""Markdown: text that stands there as it is, whatever it holds."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

_LINE_BREAKS = re.compile(r"[\r\n\v\f\x85\u2028\u2029]+")
_SPECIAL = re.compile(
    r"""[\\`*|~]                        # escapes, code, emphasis, cells, struck-through text
    | (?<![^\W_])_ | _(?![^\W_])       # emphasis; within a word an underscore is one
    | <(?=[A-Za-z/!?])                 # HTML
    | &(?=\#?\w+;)                     # entities
    | (?<=\])[(:\[] | !(?=\[)          # links, their definitions, pictures
    | ^(?:[#>]|[-+](?=\s))             # headings, quotes, lists
    """,
    re.VERBOSE,
)


def literal(value: Any) -> Any:
    """Return text as Markdown that renders as that text, on one line; markup and other values pass.

    What isn't special where it stands keeps its look, as the underscore of ``robust_wmmse`` and the brackets of an interval.
    """
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _SPECIAL.sub(r"\\\g<0>", _LINE_BREAKS.sub(" ", value))


def code_block(text: str) -> Markup:
    """Return text as an indented block of code."""
    return Markup("\n".join(f"    {line}" for line in text.splitlines()))
