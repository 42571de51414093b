"""Holm's correction."""

import math

import numpy as np
import pytest

from hedgeseg.metrics import holm


def test_against_the_definition():
    rng = np.random.default_rng(0)
    p_values = rng.random(20) ** 3
    order = np.argsort(p_values)
    expected = np.empty(20)
    expected[order] = np.maximum.accumulate(np.minimum(1, p_values[order] * np.arange(20, 0, -1)))
    np.testing.assert_allclose(holm(p_values.tolist()), expected)


def test_what_was_not_tested_does_not_count():
    assert holm([0.02, math.nan, 0.03]) == pytest.approx([0.04, math.nan, 0.04], nan_ok=True)
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"1\.2"):
        holm([0.1, 1.2])


def test_no_more_false_alarms_than_one_test_has():
    rng = np.random.default_rng(1)
    alarms = [min(holm(rng.random(10).tolist())) < 0.05 for _ in range(400)]
    assert np.mean(alarms) < 0.09
