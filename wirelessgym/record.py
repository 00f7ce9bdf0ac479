"""Records: one measured result, an agent at one point of one comparison, as a JSON file that says how to make it again.

A record holds no host name, user name or absolute path. Apart from latency and provenance it is a pure function of its
settings.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from wirelessgym.io import write_text_atomically
from wirelessgym.options import refusal
from wirelessgym.provenance import hardware, source_state, versions
from wirelessgym.scenario import ChannelSettings

SCHEMA: Literal[1] = 1

Interval: TypeAlias = tuple[float, float]


def encodable(value: Any) -> Any:
    """Text as UTF-8 can hold it: lone surrogates, which any exception's message may have, as escapes; other values pass."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


Text: TypeAlias = Annotated[str, BeforeValidator(encodable)]


class RecordError(ValueError):
    """A record file that can't be read: no JSON, or entries that don't belong."""


class RecordSchemaError(RecordError):
    """A record written under another schema version than this package reads."""


class _Part(BaseModel):
    """A frozen piece of a record; its entries can be read as attributes and, as in the file, by key."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    def __getitem__(self, key: str) -> Any:
        for name, field in type(self).model_fields.items():
            if key == (field.alias or name):
                return getattr(self, name)
        raise KeyError(key)


class Value(_Part):
    """One metric over all episodes.

    Attributes:
        mean: mean over episodes, or the ratio of sums (in dB where the unit says so); None if not finite, with a note.
        ci95: 95 % bootstrap interval over episodes.
        unit: unit of the three numbers.
        higher_is_better: direction.
    """

    mean: float | None
    ci95: Interval | None
    unit: str
    higher_is_better: bool


class Gap(_Part):
    """How far the headline metric stays behind the bound, in its unit; negative would be beyond it.

    Attributes:
        mean: bound minus value where higher is better, value minus bound otherwise.
        ci95: 95 % interval of that paired difference.
    """

    mean: float
    ci95: Interval


class Paired(_Part):
    """The headline metric against a reference agent on the same episodes.

    Attributes:
        reference: name of that agent.
        difference: this agent's value minus the reference's.
        ci95: 95 % interval of the difference, both resampled together.
        p_value: two-sided paired t-test on that difference.
        p_value_corrected: the same after Holm's correction over the agents compared at this point.
        better: whether the difference is in the good direction (False for no difference).
    """

    reference: str
    difference: float
    ci95: Interval
    p_value: float
    p_value_corrected: float
    better: bool


class Average(_Part):
    """A standing averaged over all points of a table, resampled together; the best of the others may differ from point to point.

    Attributes:
        kind: what is averaged: the differences; of errors the ratios, in dB; or the errors themselves before one ratio is taken.
        difference: this agent's less the best others', in ``unit``.
        ci95: 95 % interval.
        unit: of the three numbers.
    """

    kind: Literal["difference", "ratio", "ratio of means"]
    difference: float
    ci95: Interval
    unit: str


class Standing(_Part):
    """The headline metric against the best of the others on the same episodes; the rule is in `wirelessgym.evaluate.standings`.

    Attributes:
        other: name of the agent with the best mean among all others at this point.
        difference: this agent's value minus the other's.
        ci95: 95 % interval of the difference, both resampled together.
        p_value: two-sided paired t-test on that difference.
        p_value_corrected: the same after Holm's correction over the points of the sweep.
        better: whether the difference is in the good direction (False for no difference).
        average: the same over all points of the table; None where the agent failed at one, or somebody makes no errors at all.
    """

    other: str
    difference: float
    ci95: Interval
    p_value: float
    p_value_corrected: float
    better: bool
    average: Average | None


class Latency(_Part):
    """Seconds for one decision (one observation, batch of one, one thread): median and 95th percentile."""

    p50: float
    p95: float


class Sweep(_Part):
    """The point of a sweep: the swept field (``"snr_db"``, ``"panel.columns"``) and its value there."""

    axis: str
    value: Any


class Provenance(_Part):
    """Where a result comes from.

    Attributes:
        git: commit of the source tree, None for an installed package.
        dirty: whether that tree had changes.
        versions: of Python and the packages that matter.
        spec_version: version of 3GPP TR 38.901's parameter tables; None where the channel uses none.
        hardware: processor model and number of cores, and the operating system's kind.
        wall_time_s: seconds this agent's episodes took, summed over processes.
    """

    git: str | None
    dirty: bool | None
    versions: dict[str, str]
    spec_version: str | None
    hardware: dict[str, str | int]
    wall_time_s: float


class Record(_Part):
    """One agent at one point of one comparison.

    Attributes:
        schema_version: version of this layout; ``schema`` in the file.
        task: task id.
        scenario: scenario id.
        agent: name of the row, unique at its point.
        role: ``"agent"``; ``"floor"`` and ``"bound"``, in every table; ``"genie"``, an agent that sees the true state.
        seed: seed of all episodes; of a secret one, a digest (``sha256:...``).
        episodes: number of episodes, numbered from 0.
        headline: name of the headline metric in ``metrics``.
        higher_is_better: its direction.
        metrics: name to value. Entries of a vector are ``name[0]``, ``name[1]``, ...; where ``name`` is a ratio of
            sums, ``name_per_episode`` is the mean of per-episode ratios. Empty for a failed agent.
        bound: mean of the best known value of the headline metric on these episodes, None where the task knows none.
        gap_to_bound: distance to it.
        paired: difference to the reference agent; None for the reference itself, floor, bound and failed ones.
        standing: difference to the best of the others; None for floor, genies, bound, failed ones and who is alone, and in
            records from before it was kept.
        latency_s: decision latency; None for the bound, which doesn't act.
        deadline_s: time limit of one decision, None without.
        fallback: agent whose actions replaced late answers.
        fallbacks: number of late answers, None without a deadline.
        parameters: trainable parameters.
        training: what the agent learned from, as in `Agent.training`; None where nobody can tell, and in records from before it
            was kept.
        status: ``"failed"`` for an agent that raised.
        traceback: what it raised.
        notes: what a reader should know, in words.
        scenario_settings: every field of the scenario.
        task_options: every option of the task.
        agent_options: options of the agent.
        sweep: the point of the sweep, None without one.
        channel: where the channel's statistics come from, in words; empty in records from before it was kept.
        command: command line that makes this record again.
        provenance: code, versions, machine.
    """

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    task: str
    scenario: str
    agent: Text
    role: Literal["agent", "floor", "genie", "bound"] = "agent"
    seed: int | str
    episodes: int
    headline: str
    higher_is_better: bool
    metrics: dict[str, Value]
    bound: float | None
    gap_to_bound: Gap | None
    paired: Paired | None
    standing: Standing | None = None
    latency_s: Latency | None
    deadline_s: float | None = None
    fallback: str | None = None
    fallbacks: int | None = None
    parameters: int
    training: Literal["none", "fitted", "network"] | None = None
    status: Literal["ok", "failed"] = "ok"
    traceback: Text | None = None
    notes: tuple[Text, ...] = ()
    scenario_settings: dict[str, Any]
    task_options: dict[str, Any]
    agent_options: dict[str, Any]
    sweep: Sweep | None
    channel: str = ""
    command: Text
    provenance: Provenance

    @property
    def value(self) -> Value | None:
        """The headline metric; None for a failed agent."""
        return self.metrics.get(self.headline)

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that differ between records of different settings."""
        settings = (self.task, self.agent, self.seed, self.episodes, self.scenario_settings, self.task_options)
        text = json.dumps([*settings, self.agent_options, self.deadline_s, self.fallback], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def filename(self) -> str:
        """Name of this record's file: readable, and different for different settings."""
        point = f"{self.sweep.axis}={self.sweep.value}" if self.sweep else None
        parts = [self.task, self.scenario, point, self.agent, self.digest]
        return "--".join(re.sub(r"[^\w.=+-]+", "_", part) for part in parts if part) + ".json"

    def to_json(self) -> str:
        """Return the file's text."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def write_record(record: Record, folder: Path) -> Path:
    """Write a record into a folder under its `Record.filename`, whole or not at all."""
    return write_text_atomically(folder / record.filename, record.to_json())


def read_record(path: Path) -> Record:
    """Read one record.

    Raises:
        RecordSchemaError: for another schema version; the message names both.
        RecordError: for a file that is no record; the message names the file and the first problems.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or nested too deeply
        raise RecordError(f"record {path.name}: not valid JSON: {error}") from error
    if not isinstance(data, Mapping) or "schema" not in data:
        raise RecordError(f"record {path.name}: expected an object with a 'schema' entry")
    if data["schema"] != SCHEMA:
        raise RecordSchemaError(
            f"record {path.name} has schema {data['schema']}, this version of wirelessgym reads and writes schema "
            f"{SCHEMA}; use another folder, or the version of wirelessgym that wrote it"
        )
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, found['loc']))}: {refusal(found, {})}" for found in error.errors()]
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise RecordError(f"record {path.name}: {'; '.join(problems[:3])}{more}") from error


def read_records(folder: Path) -> list[Record]:
    """Read every record in ``folder/records`` (or in ``folder`` itself), sorted by file name.

    Raises:
        FileNotFoundError: if there is none.
        RecordError: if one can't be read (`RecordSchemaError` for another schema).
    """
    paths = sorted((folder / "records").glob("*.json")) or sorted(folder.glob("*.json"))
    if not paths:
        raise FileNotFoundError(f"no records in {folder}: expected {folder / 'records'}/*.json as written by compare")
    return [read_record(path) for path in paths]


def provenance(channels: Sequence[ChannelSettings], wall_time_s: float) -> Provenance:
    """Describe the code, the machine of this process and the channels that a result was measured on."""
    commit, dirty = source_state()
    tables = sorted({channel.table_version for channel in channels if channel.table_version})
    return Provenance(
        git=commit,
        dirty=dirty,
        versions=versions(),
        spec_version="+".join(tables) or None,
        hardware=hardware(),
        wall_time_s=wall_time_s,
    )
