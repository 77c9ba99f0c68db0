"""Layouts: which columns a row has, and what is in a column before and after its life."""

import math

import pytest

from prom_probe.model.family import Family, column
from prom_probe.model.layout import Layout
from prom_probe.model.sample import STALE, is_stale

FAMILY = Family("x", "gauge", "A value.")


@pytest.mark.parametrize("value", [STALE, 0.0, math.inf])
def test_a_column_is_absent_before_its_first_value_and_after_its_end(value: float) -> None:
    """Absent is the staleness marker."""
    layout = Layout()
    group = layout.add([column(FAMILY)])
    assert is_stale(layout.row[group.start])
    layout.row[group.start] = value
    layout.retire(group)
    assert is_stale(layout.row[0])
