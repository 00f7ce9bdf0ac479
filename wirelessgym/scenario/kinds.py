"""Kinds of channel: the table ``[channel]`` of a scenario is read by the class that its ``kind`` names.

A kind is a file in ``wirelessgym/channel/kinds/``; its name is the kind. The folder is listed, and only the file of the kind in
use is imported. Other packages add theirs through the entry point group ``wirelessgym.channels``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar

from wirelessgym.plugins import public_class
from wirelessgym.scenario.values import ScenarioError, Strict
from wirelessgym.suggest import hint

_FOLDER = Path(__file__).parents[1] / "channel" / "kinds"


class ChannelSettings(Strict):
    """What a scenario says about one kind of channel. How it is sampled is added by `wirelessgym.channel.kind.ChannelKind`.

    Attributes:
        kind: the kind; a literal with a default in each subclass.
        planar: whether neighbouring antennas of the base station differ by a steering phase; if not, they fade independently.
    """

    planar: ClassVar[bool] = True

    kind: str

    @property
    def label(self) -> str:
        """The channel in a word or two, as reports name it."""
        return self.kind

    @property
    def provenance(self) -> str:
        """Where the channel's statistics come from, for records and reports: the standard with its version, or the paper."""
        return ""

    @property
    def table_version(self) -> str | None:
        """Version of TR 38.901's parameter tables; None for a kind that doesn't use them."""
        return None


def channel_kinds() -> list[str]:
    """Return every kind of channel, built-in ones first; imports none of them."""
    built_in = built_in_kinds()
    return built_in + sorted(set(_plugins()) - set(built_in))


def channel_class(kind: str) -> type[ChannelSettings]:
    """Return the class of a kind of channel.

    Raises:
        LookupError: for an unknown kind; the message suggests the nearest one.
        TypeError: for an entry point that isn't such a class.
    """
    if kind in built_in_kinds():
        return public_class(importlib.import_module(f"wirelessgym.channel.kinds.{kind}"), ChannelSettings)
    if kind in (plugins := _plugins()):
        loaded = plugins[kind].load()
        if not (isinstance(loaded, type) and issubclass(loaded, ChannelSettings)):
            raise TypeError(f"entry point {kind!r} of wirelessgym.channels: expected a ChannelKind class, got {loaded!r}")
        return loaded
    raise LookupError(f"channel.kind: no channel is of kind {kind!r}; {hint(kind, channel_kinds())}")


def channel_settings(value: Any) -> Any:
    """Read a ``[channel]`` table by its kind; settings pass as they are.

    Raises:
        ScenarioError: for what is no table, or has no kind or an unknown one.
        ValidationError: for a wrong key or value of that kind.
    """
    if isinstance(value, ChannelSettings):
        return value
    known = ", ".join(channel_kinds())
    if not isinstance(value, Mapping):
        raise ScenarioError(f"channel: expected a table with a kind ({known}), got {value!r}")
    if "kind" not in value:
        raise ScenarioError(f"missing key 'channel.kind'; known: {known}")
    try:
        kind = channel_class(str(value["kind"]))
    except LookupError as error:
        raise ScenarioError(str(error)) from None
    return kind.model_validate(value)


def built_in_kinds() -> list[str]:
    """Return the kinds of channel in this package."""
    return sorted(path.stem for path in _FOLDER.glob("*.py") if not path.stem.startswith("_"))


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="wirelessgym.channels")}
