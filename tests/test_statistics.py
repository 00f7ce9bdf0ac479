import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wirelessgym.statistics import Series, estimate, holm, paired_p_value, resample_counts


def _energies(episodes=400, seed=3):
    rng = np.random.default_rng(seed)
    return rng.gamma(2, 1, episodes), rng.gamma(20, 1, episodes)


def test_interval_of_a_ratio_of_sums_is_scipys_paired_bootstrap():
    error, signal = _energies()
    expected = stats.bootstrap(
        (error, signal),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    found = estimate({"nmse": Series(error, signal)})["nmse"]
    assert found.value == pytest.approx(error.sum() / signal.sum(), rel=1e-12)
    assert found.ci95 == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_interval_of_a_mean_covers_the_truth_in_nineteen_of_twenty_experiments():
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(200):
        low, high = estimate({"x": Series(rng.normal(1.0, 2.0, 100), np.ones(100))})["x"].ci95
        inside += low <= 1.0 <= high
    assert 0.89 < inside / 200 < 0.99


def test_every_resample_draws_as_many_episodes_as_there_are():
    pieces = list(resample_counts(700, resamples=4000))
    assert len(pieces) > 1
    counts = np.concatenate(pieces)
    assert counts.shape == (4000, 700) and (counts.sum(1) == 700).all()
    assert counts.var() == pytest.approx(1, rel=0.02)


def test_decibel_value_is_the_logarithm_of_the_ratio_of_sums_not_the_mean_of_logarithms():
    error, signal = _energies()
    found = estimate({"a": Series(error, signal), "b": Series(error, signal, decibel=True)})
    assert found["b"].value == pytest.approx(10 * np.log10(found["a"].value))
    assert found["b"].ci95 == pytest.approx(tuple(10 * np.log10(found["a"].ci95)))
    assert abs(np.mean(Series(error, signal, decibel=True).per_episode) - found["b"].value) > 0.1


def test_pairing_removes_the_variance_that_both_agents_share():
    rng = np.random.default_rng(5)
    channel, ones = rng.normal(10, 3, 300), np.ones(300)
    found = estimate({"a": Series(channel + 0.1 + rng.normal(0, 0.05, 300), ones), "b": Series(channel, ones)})
    low, high = found["a"].minus(found["b"]).ci95
    alone = np.subtract(*found["a"].ci95[::-1])
    assert 0 < low < 0.1 < high and high - low < alone / 20


def test_a_quantity_that_is_not_finite_has_no_estimate_and_spoils_no_other():
    ones = np.ones(4)
    found = estimate({
        "nan": Series(np.array([1.0, np.nan, 1, 1]), ones),
        "inf": Series(np.array([1.0, np.inf, 1, 1]), ones),
        "empty": Series(np.zeros(4), np.zeros(4)),
        "zero": Series(np.zeros(4), ones, decibel=True),
        "fine": Series(2 * ones, ones),
    })  # fmt: skip
    assert [name for name, value in found.items() if value is None] == ["nan", "inf", "empty", "zero"]
    assert found["fine"].ci95 == (2.0, 2.0)


def test_no_quantity_has_an_estimate_where_none_is_finite():
    ones = np.ones(3)
    found = estimate({"nan": Series(np.nan * ones, ones), "endless weight": Series(ones, np.array([1.0, np.inf, 1.0]))})
    assert found == {"nan": None, "endless weight": None}


def test_quantities_resampled_together_are_those_resampled_alone():
    error, signal = _energies(episodes=50)
    quantities = {"a": Series(error, signal), "b": Series(signal, np.ones(50)), "c": Series(error, np.ones(50), decibel=True)}
    together = estimate(quantities)
    for name, one in quantities.items():
        assert together[name].value == one.value
        assert together[name].ci95 == pytest.approx(estimate({name: one})[name].ci95, rel=1e-12)


def test_a_difference_of_estimates_is_the_difference_of_their_values():
    error, signal = _energies(episodes=50)
    found = estimate({"a": Series(error, signal), "b": Series(signal, error)})
    assert found["a"].minus(found["b"]).value == found["a"].value - found["b"].value


@pytest.mark.parametrize("decibel", [False, True])
def test_influence_is_how_the_value_moves_with_the_weight_of_an_episode(decibel):
    error, signal = _energies(episodes=20)
    whole = Series(error, signal, decibel)
    for index in (0, 7, 19):
        weight = np.ones(20)
        weight[index] += 1e-6
        moved = Series(weight * error, weight * signal, decibel).value - whole.value
        assert whole.influence[index] == pytest.approx(20 * moved / 1e-6, rel=1e-3)
    assert whole.influence.sum() == pytest.approx(0, abs=1e-9)


def series(values, weights=None):
    return Series(np.asarray(values, float), np.ones(len(values)) if weights is None else np.asarray(weights, float))


def test_identical_agents_differ_by_nothing_without_a_warning():
    values = np.random.default_rng(0).normal(size=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert paired_p_value(series(values), series(values.copy())) == 1.0
        assert paired_p_value(series(np.zeros(9)), series(np.zeros(9))) == 1.0
        assert paired_p_value(series(np.ones(9)), series(np.zeros(9))) == 0.0


def test_p_value_of_means_is_that_of_a_paired_t_test():
    a, b = np.random.default_rng(1).normal(10, 3, (2, 100))
    assert paired_p_value(series(a), series(b)) == pytest.approx(stats.ttest_rel(a, b).pvalue)


@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e15])
def test_a_p_value_does_not_depend_on_the_unit(unit):
    a, b = np.random.default_rng(1).normal(10, 3, (2, 100))
    expected = paired_p_value(series(a), series(b))
    assert paired_p_value(series(unit * a), series(unit * b)) == pytest.approx(expected, rel=1e-6)
    # Every episode differs by 0.7, but for rounding: there is no spread to compare with.
    assert paired_p_value(series(unit * (b + 0.7)), series(unit * b)) == 0.0


def test_p_value_of_ratios_is_uniform_where_nothing_differs():
    rng = np.random.default_rng(2)
    p = []
    for _ in range(400):
        energy = rng.gamma(5, size=200)
        p.append(paired_p_value(*(series(energy * rng.gamma(4, size=200), energy) for _ in range(2))))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_a_few_large_losses_outweigh_many_tiny_gains():
    # Ranks would call the first agent better: it wins most episodes. Its mean, which is what is shown, says otherwise.
    loss = np.r_[np.full(95, -1e-6), np.linspace(1, 2, 5)]
    assert stats.wilcoxon(loss).pvalue < 1e-3
    assert paired_p_value(series(loss), series(np.zeros(100))) > 0.01


def test_a_consistent_small_gain_is_significant_and_noise_is_not():
    rng = np.random.default_rng(1)
    a = rng.normal(10, 3, 100)
    assert paired_p_value(series(a + 0.01 + rng.normal(0, 1e-3, 100)), series(a)) < 1e-10
    assert paired_p_value(series(a), series(a + rng.choice([-1, 1], 100) * rng.random(100))) > 0.01


def test_holm_gives_the_values_of_the_textbook_example():
    # Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1 raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_lies_between_the_raw_values_and_bonferroni(p_values):
    corrected = holm(p_values)
    for p, c in zip(p_values, corrected, strict=True):
        assert p <= c <= min(1.0, p * len(p_values))
    ranked = [corrected[i] for i in np.argsort(p_values, kind="stable")]
    assert ranked == sorted(ranked)
