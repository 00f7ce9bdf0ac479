"""Scenarios: one radio setting, validated and versioned, read from a TOML file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from wirelessgym.io import parse_toml_value, read_toml
from wirelessgym.options import refusal
from wirelessgym.suggest import hint


class ScenarioError(ValueError):
    """A scenario key that doesn't exist, or a value out of its range."""


def _ordered(value: float | tuple[float, float]) -> float | tuple[float, float]:
    if isinstance(value, tuple) and value[0] > value[1]:
        raise ValueError(f"a range is (low, high), got {value}")
    return value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _none_in_words(value: Any) -> Any:
    return "none" if value is None else value  # what --set normalisation=none means


def _span(low: float, high: float, kind: Any) -> Any:
    """A number or a (low, high) range, both within [low, high]."""
    number = Annotated[kind, Field(ge=low, le=high)]
    return Annotated[number | tuple[number, number], BeforeValidator(_tuple), AfterValidator(_ordered)]


FloatSpan: TypeAlias = float | tuple[float, float]
Model: TypeAlias = Literal[
    "uma", "umi", "rma", "inh",
    "cdl-a", "cdl-b", "cdl-c", "cdl-d", "cdl-e",
    "tdl-a", "tdl-b", "tdl-c", "tdl-d", "tdl-e",
    "rayleigh",
]  # fmt: skip


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Panel(_Strict):
    """The base station's uniform planar array in the y-z plane.

    Antenna index is column * rows + row; all elements of the second polarisation come after those of the first.
    """

    rows: int = Field(ge=1, le=64)
    columns: int = Field(ge=1, le=64)
    polarisation: Literal["single", "dual"] = "single"
    element: Literal["omni", "38.901"] = "omni"
    spacing_wavelengths: float = Field(default=0.5, gt=0, le=10)

    @property
    def num_antennas(self) -> int:
        """Antenna ports of the panel."""
        return self.rows * self.columns * (2 if self.polarisation == "dual" else 1)


class Drop(_Strict):
    """Where users are dropped; None takes TR 38.901's value for the model (table 7.2-1 and following)."""

    min_distance_m: float | None = Field(default=None, gt=0, le=5000)
    inter_site_distance_m: float | None = Field(default=None, gt=0, le=20000)
    bs_height_m: float | None = Field(default=None, gt=0, le=150)
    ut_height_m: float | None = Field(default=None, gt=0, le=50)
    indoor_probability: float = Field(default=0.0, ge=0, le=1)


class Scenario(_Strict):
    """One radio setting.

    Attributes:
        version: schema version of the file.
        id: the file's name without its ending.
        description: one line for people.
        source: where the setting comes from.
        model: channel model: TR 38.901 system-level (uma, umi, rma, inh), clustered or tapped delay line, or i.i.d. Rayleigh.
        sight: line of sight for all users, for none, or drawn with TR 38.901's probability (system-level models only).
        spec_version: version of TR 38.901's parameter tables in Sionna.
        carrier_frequency_hz: carrier.
        panel: base station array. Users have one vertical omnidirectional antenna.
        drop: user drop of the system-level models.
        delay_spread_s: rms delay spread of cdl and tdl models.
        num_users: users, or an inclusive range from which each episode draws.
        num_subcarriers: subcarriers; narrowband tasks use the one at the carrier.
        subcarrier_spacing_hz: spacing.
        slot_duration_s: time between slots.
        speed_kmh: user speed, or a range from which each user's is drawn uniformly.
        path_loss: whether path loss scales the channel.
        shadowing: whether shadow fading does.
        normalisation: ``"user"``: every user's mean power per antenna is 1 over the slots of the episode; ``"sample"``: the mean
            over users is; ``"none"``: as drawn.
        tx_power_dbw: transmit power budget of the downlink.
        snr_db: E||Hx||^2 / E||n||^2 per receive antenna over the episode, or a range from which each episode draws.
        noise_power_dbw: fixes the noise power instead; ``snr_db`` is then not used.
        csi_snr_db: power of the channel over that of its estimation error, or a range; None is perfect CSI.
        horizon: steps of an episode.
    """

    version: Literal[1] = 1
    id: str = "unnamed"
    description: str = ""
    source: str = Field(min_length=1)
    model: Model
    sight: Literal["los", "nlos", "mixed"] = "nlos"
    spec_version: Literal["16.1", "19.2"] = "19.2"
    carrier_frequency_hz: float = Field(ge=0.5e9, le=100e9)
    panel: Panel
    drop: Drop = Drop()
    delay_spread_s: float = Field(default=300e-9, ge=0, le=10e-6)
    num_users: _span(1, 64, int)  # type: ignore[valid-type]
    num_subcarriers: int = Field(default=48, ge=1, le=4096)
    subcarrier_spacing_hz: float = Field(default=180e3, gt=0, le=10e6)
    slot_duration_s: float = Field(default=0.5e-3, gt=0, le=1.0)
    speed_kmh: _span(0, 1000, float)  # type: ignore[valid-type]
    path_loss: bool = False
    shadowing: bool = False
    normalisation: Annotated[Literal["user", "sample", "none"], BeforeValidator(_none_in_words)] = "user"
    tx_power_dbw: float = Field(default=0.0, ge=-100, le=100)
    snr_db: _span(-50, 100, float) = 10.0  # type: ignore[valid-type]
    noise_power_dbw: float | None = Field(default=None, ge=-300, le=100)
    csi_snr_db: _span(-50, 100, float) | None = None  # type: ignore[valid-type]
    horizon: int = Field(default=10, ge=1, le=100_000)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.model not in ("uma", "umi", "rma", "inh") and (self.path_loss or self.shadowing):
            raise ValueError("path_loss and shadowing need a system-level model (uma, umi, rma, inh)")
        nearest, farthest = self.drop.min_distance_m, self.drop.inter_site_distance_m
        if nearest is not None and farthest is not None and nearest >= farthest / 2:
            raise ValueError(f"drop.min_distance_m lies below half of inter_site_distance_m, got {nearest} and {farthest}")
        return self

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

        Raises:
            ScenarioError: for a key that doesn't exist or a value out of range.
        """
        return validated(merged(self.model_dump(mode="python"), overrides), self.id)

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
        return validated(merged(data | {"id": path.stem}, overrides or {}), path.stem)


def span(value: FloatSpan) -> tuple[float, float]:
    """A number or range as (low, high)."""
    return (float(value[0]), float(value[1])) if isinstance(value, tuple) else (float(value), float(value))


def merged(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``data`` with ``overrides`` (dotted or nested keys) laid over it."""
    result = dict(data)
    for key, value in overrides.items():
        head, _, rest = key.partition(".")
        if rest:
            value = {rest: value}
        inner = result.get(head)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            result[head] = merged(inner, cast(Mapping[str, Any], value))
        else:
            result[head] = value
    return result


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split ``key=value`` from a command line; the value is read as TOML, and as a string where it is none.

    Raises:
        ScenarioError: without ``=``, or over several lines.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ScenarioError(f"expected key=value, got {text!r}")
    if "\n" in key or "\n" in value.strip():
        raise ScenarioError(f"expected key=value on one line, got {text!r}")
    if value.strip().lower() == "none":
        return key.strip(), None
    try:
        return key.strip(), parse_toml_value(value)
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def validated(data: Mapping[str, Any], name: str) -> Scenario:
    """Build a scenario, turning every complaint into one that names the key, the allowed values and what came.

    Raises:
        ScenarioError: listing each problem on its own line.
    """
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        lines = dict.fromkeys(_complaint(problem) for problem in _telling(error.errors()))
        raise ScenarioError(f"scenario {name}: " + "; ".join(lines)) from None


def _telling(problems: list[Any]) -> list[Any]:
    """A field that takes a number or a range complains twice: keep the complaint about what was given."""
    other = {"tuple_type": (int, float, str, bool), "float_type": (list, tuple), "int_type": (list, tuple)}
    return [p for p in problems if not isinstance(p["input"], other.get(p["type"], ()))] or problems


_NESTED: dict[str, type[BaseModel]] = {"panel": Panel, "drop": Drop}


def _complaint(problem: Any) -> str:
    # Unions add a branch name such as "constrained-int" to the location: keep the real keys only.
    names = [str(part) for part in problem["loc"]]
    keys = [part for part in names if part.isidentifier() and part not in ("int", "float", "tuple")]
    key = ".".join(keys)
    owner = _NESTED.get(keys[0], Scenario) if len(keys) > 1 else Scenario
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {hint(keys[-1], owner.model_fields, prefix=key[: -len(keys[-1])], known_as='known keys')}"
    if problem["type"] == "missing":
        return f"missing key {key!r}"
    if not key:  # about the scenario as a whole
        return refusal(problem, {})
    schema = owner.model_json_schema()["properties"][keys[-1]]
    return f"{key}: {refusal(problem, schema)}, got {json.dumps(problem['input'], default=str)}"
