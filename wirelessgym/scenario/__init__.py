"""Scenarios: one radio setting, validated and versioned, read from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError

from wirelessgym.io import read_toml
from wirelessgym.options import refusal
from wirelessgym.scenario.complaints import complaints
from wirelessgym.scenario.kinds import ChannelSettings, channel_class, channel_kinds, channel_settings
from wirelessgym.scenario.overrides import TOP_LEVEL_KEYS, channel_label, in_tables, laid_over, merged, parse_assignment
from wirelessgym.scenario.values import SINGLE_ANTENNA, FloatSpan, Panel, ScenarioError, Strict, number_or_range, span

__all__ = [
    "SINGLE_ANTENNA",
    "TOP_LEVEL_KEYS",
    "ChannelSettings",
    "FloatSpan",
    "Panel",
    "Scenario",
    "ScenarioError",
    "Strict",
    "channel_class",
    "channel_kinds",
    "channel_label",
    "in_tables",
    "merged",
    "parse_assignment",
    "refusal",
    "span",
    "validated",
]


def _none_in_words(value: Any) -> Any:
    return "none" if value is None else value  # what --set normalisation=none means


class Scenario(Strict):
    """One radio setting.

    Attributes:
        version: schema version of the file.
        id: the file's name without its ending.
        description: one line for people.
        source: where the setting comes from.
        channel: what the channels are made of: settings of a kind in ``wirelessgym/channel/kinds/``, named by ``kind``.
        carrier_frequency_hz: carrier.
        panel: base station array.
        user_panel: array of every user, upright and facing east (the x axis); by default one vertical omnidirectional antenna.
        num_users: users, or an inclusive range from which each episode draws.
        num_subcarriers: subcarriers; narrowband tasks use the one at the carrier.
        subcarrier_spacing_hz: spacing.
        slot_duration_s: time between slots.
        speed_kmh: user speed, or a range from which each user's is drawn uniformly.
        normalisation: ``"user"``: every user's power per antenna is 1 in expectation over small-scale fading, given its
            large-scale parameters and the powers of its rays; it fades from slot to slot and from episode to episode.
            ``"sample"``: the mean over users is. ``"none"``: as drawn. ``"user-realised"`` and ``"sample-realised"``: the mean
            over slots, antennas and subcarriers of each episode is 1, as in papers that divide every sample by its norm; then
            the received power doesn't fade, and the scale of a slot depends on those that follow.
        tx_power_dbw: transmit power budget of the downlink.
        snr_db: E||Hx||^2 / E||n||^2 per receive antenna, or a range from which each episode draws. The expectation is over
            small-scale fading, too, unless the normalisation is a realised one: then it is the mean over the episode.
        noise_power_dbw: fixes the noise power instead; ``snr_db`` is then not used.
        csi_snr_db: power of the channel, expected or realised as above, over that of its estimation error, or a range; None is
            perfect CSI.
        horizon: steps of an episode.
    """

    version: Literal[1] = 1
    id: str = "unnamed"
    description: str = ""
    source: str = Field(min_length=1)
    channel: Annotated[SerializeAsAny[ChannelSettings], BeforeValidator(channel_settings)]
    carrier_frequency_hz: float = Field(ge=0.5e9, le=100e9)
    panel: Panel
    user_panel: Panel = SINGLE_ANTENNA
    num_users: number_or_range(1, 64, int)  # type: ignore[valid-type]
    num_subcarriers: int = Field(default=48, ge=1, le=4096)
    subcarrier_spacing_hz: float = Field(default=180e3, gt=0, le=10e6)
    slot_duration_s: float = Field(default=0.5e-3, gt=0, le=1.0)
    speed_kmh: number_or_range(0, 1000, float)  # type: ignore[valid-type]
    normalisation: Annotated[
        Literal["user", "sample", "none", "user-realised", "sample-realised"], BeforeValidator(_none_in_words)
    ] = "user"
    tx_power_dbw: float = Field(default=0.0, ge=-100, le=100)
    snr_db: number_or_range(-50, 100, float) = 10.0  # type: ignore[valid-type]
    noise_power_dbw: float | None = Field(default=None, ge=-300, le=100)
    csi_snr_db: number_or_range(-50, 100, float) | None = None  # type: ignore[valid-type]
    horizon: int = Field(default=10, ge=1, le=100_000)

    @property
    def max_users(self) -> int:
        """Size of the user axis."""
        return self.num_users[1] if isinstance(self.num_users, tuple) else self.num_users

    @property
    def num_antennas(self) -> int:
        """Antenna ports at the base station."""
        return self.panel.num_antennas

    @property
    def speed_mps(self) -> tuple[float, float]:
        """Lowest and highest user speed."""
        low, high = span(self.speed_kmh)
        return low / 3.6, high / 3.6

    def with_overrides(self, overrides: Mapping[str, Any]) -> Scenario:
        """Return a copy with fields replaced; nested fields as ``{"panel.columns": 8}`` or ``{"panel": {"columns": 8}}``.

        Fields of the channel may leave its name out: ``{"sight": "los"}`` is ``{"channel.sight": "los"}``.

        Raises:
            ScenarioError: for a key that doesn't exist or a value out of range.
        """
        return validated(laid_over(self.model_dump(mode="python"), overrides, self.id), self.id)

    @classmethod
    def from_file(cls, path: Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
        """Read a TOML file; its name becomes the id.

        Raises:
            ScenarioError: if the file is no TOML, or a key or value in it is wrong.
        """
        try:
            data = read_toml(path)
        except tomllib.TOMLDecodeError as error:
            raise ScenarioError(f"scenario {path.stem}: {path} is not valid TOML: {error}") from error
        usual = {"user_panel": SINGLE_ANTENNA.model_dump()}  # of which a file or an override may change one key
        data = laid_over(usual, data | {"id": path.stem}, path.stem)
        return validated(laid_over(data, overrides or {}, path.stem), path.stem)


def validated(data: Mapping[str, Any], name: str) -> Scenario:
    """Build a scenario, turning every complaint into one that names the key, the allowed values and what came.

    Raises:
        ScenarioError: listing each problem on its own line.
    """
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        said = "; ".join(complaints(error.errors(), Scenario, data))
        raise ScenarioError(f"scenario {name}: {said}") from None
