import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirelessgym.evaluate.sweep import SweepError, parse_sweep


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("snr_db=0:20:5", ("snr_db", [0, 5, 10, 15, 20])),
        ("snr_db=0:1:0.1", ("snr_db", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])),
        ("snr_db=10:-10:-10", ("snr_db", [10, 0, -10])),
        ("snr_db = 5:5:1", ("snr_db", [5])),
        ("num_users=4,6,8", ("num_users", [4, 6, 8])),
        ("speed_kmh=[10, 20],[30, 40]", ("speed_kmh", [[10, 20], [30, 40]])),
        ("panel.polarisation=single,dual", ("panel.polarisation", ["single", "dual"])),
        ({"csi_snr_db": [None, 10]}, ("csi_snr_db", [None, 10])),
    ],
)
def test_a_sweep_is_a_field_and_its_values(text, expected):
    axis, values = parse_sweep(text)
    assert (axis, values) == expected
    assert [type(value) for value in values] == [type(value) for value in expected[1]]


@given(st.integers(-50, 50), st.integers(0, 40), st.integers(1, 7))
def test_a_range_includes_its_stop_when_a_step_lands_on_it(start, steps, step):
    _, values = parse_sweep(f"snr_db={start}:{start + steps * step}:{step}")
    assert values == list(range(start, start + steps * step + 1, step))


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("snr_db", "expected a sweep as"),
        ("=1,2", "expected a sweep as"),
        ("snr_db=0:a:1", "expected numbers"),
        ("snr_db=0:1:0", "doesn't lead"),
        ("snr_db=0:10:-1", "doesn't lead"),
        ("snr_db=0:1:1e-6", "more than 1000"),
        ("snr_db=0:inf:5", "expected finite numbers in start:stop:step"),
        ("snr_db=0:nan:5", "expected finite numbers"),
        ("snr_db=0:1e300:1e-300", "more than 1000"),
        ("snr_db=1,1", "duplicate value in"),
        ({"snr_db": []}, "no value"),
        ({"snr_db": 3}, "expected a list"),
        ({"snr_db": "0:1:1"}, "expected a list"),
        ({"snr_db": [1], "num_users": [2]}, "one swept field, got 2"),
    ],
)
def test_a_sweep_that_cannot_be_read_is_refused_in_words(sweep, message):
    with pytest.raises(SweepError, match=message):
        parse_sweep(sweep)
