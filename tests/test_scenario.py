"""Scenario files and overrides: what is accepted, and what a refusal says."""

import pytest

from wirelessgym.registry import ids, load_scenario
from wirelessgym.scenario import Scenario, ScenarioError, parse_assignment


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
    assert scenario.speed_kmh == (10, 100) and (scenario.model, scenario.sight) == ("uma", "nlos")


def test_nested_fields_are_overridden_by_dots_or_by_dicts():
    by_dots = load_scenario("uma-nlos-64", {"panel.columns": 2, "drop.bs_height_m": 30})
    by_dicts = load_scenario("uma-nlos-64", {"panel": {"columns": 2}, "drop": {"bs_height_m": 30}})
    assert by_dots == by_dicts
    assert (by_dots.panel.rows, by_dots.panel.columns, by_dots.drop.bs_height_m) == (8, 2, 30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("panel.columns=8", ("panel.columns", 8)),
        ("snr_db=[0, 20]", ("snr_db", [0, 20])),
        ("path_loss=true", ("path_loss", True)),
        ("model=umi", ("model", "umi")),
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
        ({"model": "rayleigh", "path_loss": True}, "path_loss and shadowing need a system-level model (uma, umi, rma, inh)"),
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
    path.write_text('model = "uma"\nsource = "me"\ncarrier_frequency_hz = 2e9\nnum_users = 2\n')
    with pytest.raises(ScenarioError, match="scenario mine: missing key 'panel'"):
        Scenario.from_file(path)


def test_no_normalisation_can_be_asked_for_with_or_without_quotes():
    scenario = load_scenario("uma-nlos-16")
    assert scenario.with_overrides({"normalisation": None}) == scenario.with_overrides({"normalisation": "none"})
