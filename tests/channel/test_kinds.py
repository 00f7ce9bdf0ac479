"""Kinds of channel: a kind is one file, wherever it lies, and says what it is and where it comes from."""

import importlib
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wirelessgym import make_task
from wirelessgym.channel import Channel, ChannelKind
from wirelessgym.check import check_scenario
from wirelessgym.record import provenance
from wirelessgym.registry import ids, load_scenario
from wirelessgym.scenario import ScenarioError, channel_class, channel_kinds, channel_label

ROOT = Path(__file__).parents[2]
# All that another package needs: the file that CONTRIBUTING shows, and a line in its metadata that names the class.
(TWO_PATHS,) = re.findall(
    r"```python\n(.*?class TwoPaths.*?)```", (ROOT / "CONTRIBUTING.md").read_text().partition("kind of channel:")[2], re.DOTALL
)
SCENARIO = """version = 1
description = "Two paths"
source = "a textbook"
carrier_frequency_hz = 2e9
num_users = 2
num_subcarriers = 8
subcarrier_spacing_hz = 62.5e3
speed_kmh = 0
[channel]
kind = "two_paths"
[panel]
rows = 1
columns = 3
"""


@pytest.fixture
def two_paths(tmp_path, monkeypatch):
    (tmp_path / "textbook_channels.py").write_text(TWO_PATHS)
    metadata = tmp_path / "textbook_channels-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: textbook-channels\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[wirelessgym.channels]\ntwo_paths = textbook_channels:TwoPaths\n")
    (tmp_path / "mine.toml").write_text(SCENARIO)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path / "mine.toml"
    sys.modules.pop("textbook_channels", None)


def test_one_file_of_another_package_adds_a_kind(two_paths):
    assert channel_kinds()[-1] == "two_paths"
    task = make_task("channel_prediction", two_paths, horizon=1)
    state, _ = task.reset(range(3))
    # Subcarriers 62.5 kHz apart see a second path of 1 us pass through a whole turn after 16 of them.
    power = state.future.abs().square().mean((0, 1, 2))
    expected = 1 + torch.cos(2 * torch.pi * (torch.arange(8) - 4) / 16)
    torch.testing.assert_close(power / power.mean(), expected / expected.mean())
    assert all(finding.ok for finding in check_scenario(two_paths))
    assert pickle.loads(pickle.dumps(task)) == task


def test_a_kind_of_another_package_is_overridden_recorded_and_refused_like_any(two_paths):
    scenario = load_scenario(two_paths, {"channel.excess_delay_s": 2e-6})
    assert scenario.channel.excess_delay_s == 2e-6
    assert provenance([scenario.channel], 1.0).spec_version is None
    settings = scenario.model_dump(mode="json")
    assert settings["channel"] == {"kind": "two_paths", "excess_delay_s": 2e-6} and channel_label(settings) == "two_paths"
    with pytest.raises(ScenarioError, match=r"channel\.excess_delay_s: allowed is above 0, up to 1e-05, got 1"):
        load_scenario(two_paths, {"channel.excess_delay_s": 1})
    with pytest.raises(ScenarioError, match=r"no channel is of kind 'two_path'; did you mean 'two_paths'\?"):
        load_scenario("rayleigh-32", {"channel.kind": "two_path"})


def test_a_record_names_the_kind_of_a_package_that_is_gone():
    assert channel_label({"channel": {"kind": "two_paths", "excess_delay_s": 2e-6}}) == "two_paths"


def test_the_kind_is_the_name_of_its_file():
    for kind in channel_kinds():
        cls = channel_class(kind)
        assert issubclass(cls, ChannelKind) and cls.model_fields["kind"].default == kind
        assert cls.__module__ == f"wirelessgym.channel.kinds.{kind}"


@pytest.mark.parametrize("name", ids("scenarios"))
def test_a_channel_claims_3gpp_tables_exactly_where_it_uses_them(name):
    channel = load_scenario(name).channel
    uses = channel.kind != "rayleigh"
    assert ("38.901" in channel.provenance) == uses == (channel.table_version == "19.2")
    assert ("Clarke" in channel.provenance) != uses


def test_settings_are_read_and_kinds_listed_without_sionna_or_torch():
    program = (
        "import sys\n"
        "from wirelessgym.scenario import channel_kinds; channel_kinds()\n"
        "print('torch' in sys.modules)\n"
        "from wirelessgym.registry import ids, load_scenario\n"
        "[load_scenario(name) for name in ids('scenarios')]\n"
        "print('sionna' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "False\nFalse\n", done.stderr


def test_settings_that_cannot_be_sampled_are_refused():
    from wirelessgym.scenario import ChannelSettings

    scenario = load_scenario("rayleigh-32").model_copy(update={"channel": ChannelSettings(kind="bare")})
    with pytest.raises(TypeError, match="channel: expected a ChannelKind, got ChannelSettings"):
        Channel(scenario, 1, 1)
