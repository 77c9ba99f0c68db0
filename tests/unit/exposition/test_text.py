"""The text of `/metrics`, against prometheus_client's parser."""

from __future__ import annotations

import math
import struct
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from prom_probe.exposition.text import Exposition
from prom_probe.model.family import Column, Family, column
from prom_probe.model.labels import make_labels
from prom_probe.model.meter import Meter
from prom_probe.model.sample import STALE
from prom_probe.model.series import Newest

CPU = Family("proctree_cpu_seconds_total", "counter", "CPU time.", "seconds")
MEMORY = Family("proctree_resident_memory_bytes", "gauge", "Resident memory.", "bytes")


def newest(columns: list[Column], values: list[float], collector: str = "process", layout: int = 0) -> Newest:
    """A row of these values."""
    return Newest(collector, layout, columns, 1000, struct.pack(f"<{len(values)}d", *values))


def text(*rows: Newest) -> str:
    return Exposition().render(rows).decode()


def test_families_are_sorted_and_grouped_over_collectors() -> None:
    """Each family has its HELP and TYPE once, wherever its series come from."""
    rows = [
        newest([column(MEMORY, tree="a"), column(CPU, tree="a")], [4096.0, 1.5], "one"),
        newest([column(CPU, tree="b")], [2.0], "two"),
    ]
    assert text(*rows) == (
        "# HELP proctree_cpu_seconds_total CPU time.\n"
        "# TYPE proctree_cpu_seconds_total counter\n"
        'proctree_cpu_seconds_total{tree="a"} 1.5\n'
        'proctree_cpu_seconds_total{tree="b"} 2\n'
        "# HELP proctree_resident_memory_bytes Resident memory.\n"
        "# TYPE proctree_resident_memory_bytes gauge\n"
        'proctree_resident_memory_bytes{tree="a"} 4096\n'
    )


def test_nothing_stored_is_an_empty_text() -> None:
    """Before the first collection the text is empty."""
    assert text() == ""
    assert text(newest([], [])) == ""


def test_local_columns_are_left_out() -> None:
    """A column that is not exposed is for the query API only."""
    columns = [column(CPU, exposed=False, pid="1"), column(CPU, tree="a"), column(MEMORY, exposed=False)]
    assert [line for line in text(newest(columns, [1.0, 2.0, 3.0])).splitlines() if line[0] != "#"] == [
        'proctree_cpu_seconds_total{tree="a"} 2'
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([STALE, 2.0, 3.0], ["CPU b 2", "MEM a 3"]),
        ([1.0, STALE, 3.0], ["CPU a 1", "MEM a 3"]),
        ([1.0, 2.0, STALE], ["CPU a 1", "CPU b 2"]),
        ([STALE, STALE, 3.0], ["MEM a 3"]),
        ([STALE, STALE, STALE], []),
        ([1.0, 2.0], ["CPU a 1", "CPU b 2"]),
        ([1.0], ["CPU a 1"]),
        ([], []),
    ],
)
def test_absent_values_are_left_out_and_families_without_values_entirely(
    values: list[float], expected: list[str]
) -> None:
    """The staleness marker and columns beyond the payload's end are absent; no HELP without samples."""
    columns = [column(CPU, tree="a"), column(CPU, tree="b"), column(MEMORY, tree="a")]
    out = text(newest(columns, values))
    short = {"proctree_cpu_seconds_total": "CPU", "proctree_resident_memory_bytes": "MEM"}
    lines = [line for line in out.splitlines() if line[0] != "#"]
    assert [
        f"{short[line.partition('{')[0]]} {line.split(chr(34))[1]} {line.rpartition(' ')[2]}" for line in lines
    ] == expected
    assert out.count("# HELP") == out.count("# TYPE") == len({line.split()[0] for line in expected})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (10.0, "10"),
        (10.05, "10.05"),
        (1e21, "1e21"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (0.1 + 0.2, "0.30000000000000004"),
        (5e-324, "5e-324"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_values_are_written_to_the_last_bit(value: float, written: str, place: int) -> None:
    """Whole numbers have no point; special ones have Prometheus's names. First, middle and last line alike."""
    values = [7.0, 8.0, 9.0]
    values[place] = value
    lines = text(newest([column(CPU, tree=tree) for tree in "abc"], values)).splitlines()
    assert lines[2 + place].rpartition(" ")[2] == written


def test_a_histogram_keeps_its_order() -> None:
    """Buckets ascending, then sum and count, as the meter lays them out."""
    meter = Meter()
    histogram = meter.histogram(Family("x_seconds", "histogram", "X.", "seconds"), (0.1, 10.0), job="a")
    histogram.observe(0.05)
    histogram.observe(99.0)
    out = text(Newest("self", 0, meter.layout.columns, 1, meter.layout.row.tobytes()))
    assert out.splitlines()[2:] == [
        'x_seconds_bucket{job="a",le="0.1"} 1',
        'x_seconds_bucket{job="a",le="10"} 1',
        'x_seconds_bucket{job="a",le="+Inf"} 2',
        'x_seconds_sum{job="a"} 99.05',
        'x_seconds_count{job="a"} 2',
    ]


def test_types_that_the_format_does_not_know() -> None:
    """Text format 0.0.4 has neither info nor unknown."""
    columns = [column(Family("a_info", "info", "A.")), column(Family("b", "unknown", "B."))]
    out = text(newest(columns, [1.0, 2.0]))
    assert "# TYPE a_info gauge\n" in out
    assert "# TYPE b untyped\n" in out


def test_help_and_label_values_are_escaped() -> None:
    """Backslashes and line ends, and in label values quotes."""
    family = Family("x", "gauge", "a\\b\nc")
    out = text(newest([column(family, a='q"\\\n')], [1.0]))
    assert out == '# HELP x a\\\\b\\nc\n# TYPE x gauge\nx{a="q\\"\\\\\\n"} 1\n'


def test_a_layout_that_grows_or_changes_is_followed() -> None:
    """Lines are prepared once; appended columns, new layouts, new collectors and removed ones are noticed."""
    exposition = Exposition()
    columns = [column(CPU, tree="a")]

    def trees(*rows: Newest) -> list[str]:
        lines = exposition.render(rows).decode().splitlines()
        return [line.partition("{")[2] for line in lines if line[0] != "#"]

    assert trees(newest(columns, [1.0])) == ['tree="a"} 1']
    columns.append(column(CPU, tree="b"))
    assert trees(newest(columns, [1.0])) == ['tree="a"} 1']
    assert trees(newest(columns, [1.0, 2.0])) == ['tree="a"} 1', 'tree="b"} 2']
    columns.append(column(CPU, exposed=False, tree="local"))
    assert trees(newest(columns, [3.0, 4.0, 5.0])) == ['tree="a"} 3', 'tree="b"} 4']
    other = [column(CPU, tree="c")]
    assert trees(newest(other, [6.0], layout=1)) == ['tree="c"} 6']
    assert trees(newest(columns, [1.0, 2.0], layout=1)) == ['tree="a"} 1', 'tree="b"} 2']
    assert trees(newest(columns, [1.0], layout=1), newest(other, [7.0], "two")) == ['tree="a"} 1', 'tree="c"} 7']
    assert trees(newest(other, [8.0], "two")) == ['tree="c"} 8']


def test_a_series_that_came_back_is_written_once() -> None:
    """A tree that restarted has an ended column and a living one of the same labels."""
    columns = [column(CPU, tree="a"), column(CPU, tree="a")]
    assert text(newest(columns, [STALE, 5.0])).splitlines()[2:] == ['proctree_cpu_seconds_total{tree="a"} 5']


NAMES = st.from_regex(r"[a-z][a-z_]{0,5}", fullmatch=True)
VALUES = st.floats(allow_nan=True)


@settings(max_examples=25)
@given(
    st.dictionaries(
        st.tuples(
            NAMES,
            st.dictionaries(NAMES, st.text(min_size=1, max_size=5), max_size=3).map(
                lambda pairs: tuple(sorted(pairs.items()))
            ),
        ),
        st.one_of(VALUES, st.just(STALE)),
        max_size=12,
    )
)
def test_what_is_written_is_read_back(series: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> None:
    """prometheus_client's parser finds the values of all series that have one, and nothing else."""
    columns = [Column(Family(f"m_{name}", "gauge", "Help."), make_labels(f"m_{name}", pairs)) for name, pairs in series]
    row = array("d", series.values())
    out = Exposition().render([Newest("c", 0, columns, 1, row.tobytes())]).decode()
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(out)
        for sample in family.samples
    }
    wanted = {
        (f"m_{name}", pairs): value
        for (name, pairs), value in series.items()
        if struct.pack("<d", value) != struct.pack("<d", STALE)
    }
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key] == value or (math.isnan(found[key]) and math.isnan(value))
