"""Bounds of buckets and quantiles, as Prometheus 3 stores them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.model.bound import canonical_bound


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("1", "1.0"),
        ("0", "0.0"),
        ("-0", "0.0"),
        ("-1", "-1.0"),
        ("+2.50", "2.5"),
        (".5", "0.5"),
        ("5.", "5.0"),
        ("1e5", "100000.0"),
        ("999999", "999999.0"),
        ("1000000", "1e+06"),
        ("1234567", "1.234567e+06"),
        ("100000.5", "100000.5"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("-1.5E300", "-1.5e+300"),
        ("1e-320", "1e-320"),
        ("inf", "+Inf"),
        ("+Infinity", "+Inf"),
        ("-INF", "-Inf"),
        ("nan", "NaN"),
    ],
)
def test_a_float_is_written_as_openmetrics_does(written: str, stored: str) -> None:
    """With a point or an exponent; what was written so stays."""
    assert canonical_bound(written) == stored
    assert canonical_bound(stored) == stored


@pytest.mark.parametrize("text", ["", "x", "1x", " 1", "1_0", "0x10", "+nan", "++1", "1e999", "１"])
def test_what_is_no_float_stays(text: str) -> None:
    """A label may have any value."""
    assert canonical_bound(text) == text


@given(st.floats(allow_nan=False))
def test_a_bound_means_what_it_meant(value: float) -> None:
    """To the last bit but for the sign of zero, and however often it is written."""
    text = canonical_bound(repr(value))
    assert float(text) == value or math.isinf(value)
    assert canonical_bound(text) == text
