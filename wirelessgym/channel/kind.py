"""The interface of a kind of channel: settings that can be sampled. One file per kind lies in ``channel/kinds/``."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

from torch import Tensor

from wirelessgym.channel.drop import Drop
from wirelessgym.scenario import ChannelSettings, Scenario


class ChannelKind(ChannelSettings):
    """One kind of channel: the keys of a scenario's ``[channel]`` table are its fields.

    A subclass states ``kind`` (the name of its file), ``planar``, ``label``, ``provenance`` and `sample`. Its file must import
    without Sionna, which takes seconds: `prepare` and `sample` import it where they need it.
    """

    def prepare(self, scenario: Scenario) -> Any:
        """Return what is built once for all episodes, such as Sionna's model; handed to `sample`."""
        return None

    @abstractmethod
    def sample(self, scenario: Scenario, prepared: Any, num_users: int, seed: Tensor, episode: Tensor) -> Drop:
        """Sample the drops of episodes, each from generators of its own (`wirelessgym.channel.randomness.generators`).

        Args:
            scenario: the scenario whose ``channel`` this is.
            prepared: what `prepare` returned.
            num_users: size of the user axis.
            seed: shape (batch,), int64.
            episode: shape (batch,), int64.
        """

    def expected_power(self, drop: Drop) -> Tensor:
        """Power per pair of antennas of each user, expected over small-scale fading, shape (batch, users), float32.

        Where rays have a power and a random phase, the powers' sum. A kind whose gains are themselves draws of the fading, such
        as complex Gaussian ones, returns their variance's sum instead.

        Args:
            drop: as sampled.
        """
        return drop.rays.power()


class TR38901(ChannelKind):
    """A kind that takes its statistics from tables of 3GPP TR 38.901.

    Attributes:
        spec_version: version of the tables in Sionna.
    """

    spec_version: Literal["16.1", "19.2"] = "19.2"

    @property
    def table_version(self) -> str | None:
        """See `ChannelSettings.table_version`."""
        return self.spec_version

    @property
    def provenance(self) -> str:
        """See `ChannelSettings.provenance`."""
        return f"3GPP TR 38.901, version {self.spec_version}"
