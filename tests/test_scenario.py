"""Scenario files and overrides: what is accepted, and what a refusal says."""

import pickle
import tomllib

import pytest
from pydantic import ValidationError

from wirelessgym.registry import ids, load_scenario
from wirelessgym.scenario import Scenario, ScenarioError, channel_label, parse_assignment
from wirelessgym.scenario.kinds import channel_class, channel_kinds

KINDS = "cdl, rayleigh, system_level, tdl"
ELSEWHERE = "a channel of kind '{}' has none, one of kind 'system_level' has"


@pytest.mark.parametrize("name", ids("scenarios"))
def test_shipped_scenarios_name_their_antennas_and_their_source(name):
    scenario = load_scenario(name)
    assert scenario.num_antennas == int(name.rpartition("-")[2])
    assert scenario.source and scenario.description and scenario.version == 1


def test_the_papers_setting_is_the_papers():
    scenario = load_scenario("uma-nlos-128")
    assert (scenario.panel.columns, scenario.panel.rows) == (16, 8)
    assert scenario.carrier_frequency_hz == 2.4e9 and scenario.slot_duration_s == 0.5e-3
    assert (scenario.num_subcarriers, scenario.subcarrier_spacing_hz) == (48, 180e3)
    assert scenario.speed_kmh == (10, 100) and scenario.channel.label == "UMa, NLOS"


def test_nested_fields_are_overridden_by_dots_or_by_dicts():
    by_dots = load_scenario("uma-nlos-64", {"panel.columns": 2, "channel.drop.bs_height_m": 30})
    by_dicts = load_scenario("uma-nlos-64", {"panel": {"columns": 2}, "channel": {"drop": {"bs_height_m": 30}}})
    assert by_dots == by_dicts
    assert (by_dots.panel.rows, by_dots.panel.columns, by_dots.channel.drop.bs_height_m) == (8, 2, 30)


def test_one_key_of_the_user_panel_is_enough():
    scenario = load_scenario("uma-nlos-64", {"user_panel.columns": 2})
    assert (scenario.user_panel.rows, scenario.user_panel.columns, scenario.user_panel.num_antennas) == (1, 2, 2)
    assert load_scenario("uma-nlos-64").user_panel.num_antennas == 1


def test_what_follows_from_a_scenario_is_counted_and_in_si_units():
    ranges = load_scenario("rayleigh-32", {"num_users": [2, 6], "speed_kmh": [18, 72], "snr_db": [0, 20]})
    assert ranges.max_users == 6 and ranges.speed_mps == (5, 20) and ranges.snr_db == (0, 20)
    single = load_scenario("rayleigh-32", {"num_users": 3, "speed_kmh": 36})
    assert single.max_users == 3 and single.speed_mps == (10, 10)
    panel = single.with_overrides({"panel": {"rows": 2, "columns": 3, "polarisation": "dual"}}).panel
    assert panel.num_antennas == 12 and type(panel.num_antennas) is int


def test_no_table_can_be_changed_after_it_was_checked():
    scenario = load_scenario("uma-nlos-16")
    for table, key in ((scenario, "horizon"), (scenario.panel, "rows"), (scenario.channel, "kind")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(table, key, 3)


def test_settings_of_a_channel_pass_as_they_are():
    scenario = load_scenario("uma-nlos-16")
    again = Scenario(**scenario.model_dump(exclude={"channel"}), channel=scenario.channel)
    assert again == scenario and again.channel is scenario.channel


def test_another_package_takes_no_kinds_name_and_brings_a_class_of_settings(monkeypatch):
    class Point:
        def load(self):
            return dict

    monkeypatch.setattr("wirelessgym.scenario.kinds._plugins", lambda: {"cdl": Point(), "paths": Point()})
    assert channel_kinds() == ["cdl", "rayleigh", "system_level", "tdl", "paths"]
    assert channel_class("cdl").__name__ == "CDL"
    with pytest.raises(TypeError, match=r"entry point 'paths' of wirelessgym\.channels: expected a ChannelKind class, got"):
        channel_class("paths")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("panel.columns=8", ("panel.columns", 8)),
        ("snr_db=[0, 20]", ("snr_db", [0, 20])),
        ("channel.path_loss=true", ("channel.path_loss", True)),
        ("channel.kind=rayleigh", ("channel.kind", "rayleigh")),
        ("csi_snr_db=none", ("csi_snr_db", None)),
    ],
)
def test_assignments_from_the_command_line_are_toml(text, expected):
    assert parse_assignment(text) == expected


def test_an_assignment_needs_an_equals_sign():
    with pytest.raises(ScenarioError, match="expected key=value, got 'snr_db'"):
        parse_assignment("snr_db")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_user": 3}, "scenario uma-nlos-64: unknown key 'num_user'; did you mean 'num_users'?"),
        ({"panel.colums": 3}, "unknown key 'panel.colums'; did you mean 'panel.columns'?"),
        ({"num_users": 0}, "num_users: allowed is 1 to 64, got 0"),
        ({"snr_db": [0, 500]}, "snr_db: allowed is -50 to 100, got 500"),
        ({"panel": {"rows": 100}}, "panel.rows: allowed is 1 to 64, got 100"),
        ({"slot_duration_s": 0}, "slot_duration_s: allowed is above 0, up to 1.0, got 0"),
        ({"speed_kmh": (5, 2)}, "speed_kmh: a range is (low, high), got (5.0, 2.0)"),
        ({"snr_db": "loud"}, "snr_db: input should be a valid number, unable to parse string as a number, got \"loud\""),
        ({"model": "umx"}, "model: input should be 'uma', 'umi', 'rma', 'inh'"),
        ({"model": "rayleigh", "path_loss": True}, f"unknown key 'channel.path_loss'; {ELSEWHERE.format('rayleigh')}"),
        ({"sight": "los", "model": "cdl-a"}, f"unknown key 'channel.sight'; {ELSEWHERE.format('cdl')}"),
        ({"channel.kind": "cld"}, "channel.kind: no channel is of kind 'cld'; did you mean 'cdl'?"),
        ({"channel": {"kind": "quantum"}}, f"channel.kind: no channel is of kind 'quantum'; known: {KINDS}"),
        ({"channel.kind": "cdl"}, "missing key 'channel.profile'"),
        ({"channel": "rayleigh"}, f"channel: expected a table with a kind ({KINDS}), got 'rayleigh'"),
        ({"channel.sight": "loss"}, "channel.sight: input should be 'los', 'nlos' or 'mixed', got \"loss\""),
        ({"channel.sigth": "los"}, "unknown key 'channel.sigth'; did you mean 'channel.sight'?"),
        ({"channel.drop.bs_hight_m": 9}, "unknown key 'channel.drop.bs_hight_m'; did you mean 'channel.drop.bs_height_m'?"),
        ({"drop.bs_height_m": 500}, "channel.drop.bs_height_m: allowed is above 0, up to 150, got 500"),
        ({"drop": {"min_distance_m": 300, "inter_site_distance_m": 500}}, "channel.drop: min_distance_m lies below half of"),
        ({"snr_db": True}, "snr_db: input should be a number, not true or false, got true"),
        ({"num_users": "4"}, 'num_users: input should be a number, not text, got "4"'),
        ({"speed_kmh": [1, "2"]}, "speed_kmh: input should be a number, not text, got [1, \"2\"]"),
        ({"panel.rows": False}, "panel.rows: input should be a number, not true or false, got false"),
        ({"channel.drop.bs_height_m": "9"}, "channel.drop.bs_height_m: input should be a number, not text"),
        ({"user_panel.rows": 0}, "user_panel.rows: allowed is 1 to 64, got 0"),
    ],
)  # fmt: skip
def test_refusals_name_the_key_what_is_allowed_and_what_came(overrides, message):
    with pytest.raises(ScenarioError) as refused:
        load_scenario("uma-nlos-64", overrides)
    assert message in str(refused.value)


def test_a_file_that_is_no_toml_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("version = ")
    with pytest.raises(ScenarioError, match=r"scenario mine: .*mine\.toml is not valid TOML"):
        load_scenario(path)


def test_a_missing_key_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('source = "me"\ncarrier_frequency_hz = 2e9\nnum_users = 2\n[channel]\nkind = "rayleigh"\n')
    with pytest.raises(ScenarioError, match="scenario mine: missing key 'panel'"):
        Scenario.from_file(path)
    path.write_text(path.read_text().partition("[channel]")[0] + "[panel]\nrows = 2\ncolumns = 2\n")
    with pytest.raises(ScenarioError, match="missing key 'channel'"):
        Scenario.from_file(path)
    path.write_text(path.read_text() + "[channel]\n")
    with pytest.raises(ScenarioError, match=rf"missing key 'channel\.kind'; known: {KINDS}"):
        Scenario.from_file(path)


def test_no_normalisation_can_be_asked_for_with_or_without_quotes():
    scenario = load_scenario("uma-nlos-16")
    assert scenario.with_overrides({"normalisation": None}) == scenario.with_overrides({"normalisation": "none"})


FLAT = """source = "me"
{}
carrier_frequency_hz = 2e9
num_users = 2
speed_kmh = 30
[panel]
rows = 2
columns = 2
"""
# The channel's keys as they once stood at the top of a file, and the table that says the same.
OLD_AND_NEW = [
    (
        'model = "uma"\nsight = "los"\npath_loss = true',
        {"kind": "system_level", "model": "uma", "sight": "los", "path_loss": True},
    ),
    ('model = "inh"\ndrop = {ut_height_m = 2}', {"kind": "system_level", "model": "inh", "drop": {"ut_height_m": 2}}),
    ('model = "cdl-c"\ndelay_spread_s = 1e-7', {"kind": "cdl", "profile": "c", "delay_spread_s": 1e-7}),
    ('model = "tdl-e"\nspec_version = "16.1"', {"kind": "tdl", "profile": "e", "spec_version": "16.1"}),
    # What every flat file said by default and a model without any use for it ignored.
    ('model = "rayleigh"\nsight = "nlos"\nspec_version = "19.2"\npath_loss = false\ndrop = {}', {"kind": "rayleigh"}),
    (
        'model = "rayleigh"\nshadowing = false\ndelay_spread_s = 3e-7\ndrop = {indoor_probability = 0.0}',
        {"kind": "rayleigh"},
    ),
    ('model = "tdl-a"\nspec_version = "19.2"', {"kind": "tdl", "profile": "a", "spec_version": "19.2"}),
]


@pytest.mark.parametrize(("old", "new"), OLD_AND_NEW, ids=[old.split("\n")[0] + str(len(old)) for old, _ in OLD_AND_NEW])
def test_a_file_without_a_channel_table_still_means_the_same(old, new, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FLAT.format(old))
    scenario = load_scenario(path)
    assert scenario == load_scenario("uma-nlos-16").with_overrides(
        {"id": "mine", "source": "me", "description": "", "carrier_frequency_hz": 2e9, "num_users": 2, "speed_kmh": 30}
        | {"panel": {"rows": 2, "columns": 2}, "channel": new}
    )
    assert channel_label(tomllib.loads(path.read_text())) == scenario.channel.label


def test_an_old_file_that_says_what_its_model_ignored_is_told(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FLAT.format('model = "cdl-a"\nsight = "los"'))
    with pytest.raises(ScenarioError, match=r"mine: unknown key 'channel\.sight'; a channel of kind 'cdl' has none"):
        load_scenario(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"sight": "los"}, {"channel.sight": "los"}),
        ({"model": "umi", "shadowing": True}, {"channel.model": "umi", "channel.shadowing": True}),
        ({"drop.indoor_probability": 0.5}, {"channel": {"drop": {"indoor_probability": 0.5}}}),
        ({"model": "cdl-d", "delay_spread_s": 1e-7}, {"channel": {"kind": "cdl", "profile": "d", "delay_spread_s": 1e-7}}),
        ({"model": "rayleigh"}, {"channel.kind": "rayleigh"}),
    ],
)
def test_overrides_may_leave_out_the_channels_name(old, new):
    assert load_scenario("uma-hard-16", old) == load_scenario("uma-hard-16", new) != load_scenario("uma-hard-16")


def test_another_kind_keeps_the_keys_that_it_has_too():
    older = load_scenario("cdl-c-32", {"channel.spec_version": "16.1", "channel.delay_spread_s": 1e-7})
    tapped = older.with_overrides({"channel.kind": "tdl"}).channel
    assert (tapped.profile, tapped.spec_version, tapped.delay_spread_s) == ("c", "16.1", 1e-7)
    assert older.with_overrides({"channel.kind": "rayleigh"}).channel.model_dump() == {"kind": "rayleigh"}


@pytest.mark.parametrize("name", ids("scenarios"))
def test_a_scenario_is_its_own_dump(name):
    scenario = load_scenario(name)
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario
    assert pickle.loads(pickle.dumps(scenario)) == scenario
