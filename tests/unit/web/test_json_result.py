"""Query results as JSON: numbers and times as Prometheus writes them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.model.labels import Labels
from prom_probe.promql.literals import fixed
from prom_probe.promql.result import Result
from prom_probe.web.api.json_result import number, numbers, point_template, result_json, timestamp

UP: Labels = (("__name__", "up"), ("job", 'a"b'))
DOWN: Labels = (("__name__", "down"),)


def read(result: Result, **options: Any) -> Any:
    return json.loads(b"".join(result_json(result, **options)))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-12.5, "-12.5"),
        (1e15, "1000000000000000"),
        (1e20, "100000000000000000000"),
        (123456789012345678.0, "123456789012345680"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (1e-4, "0.0001"),
        (1e-5, "0.00001"),
        (1e-6, "0.000001"),
        (1.25e-6, "0.00000125"),
        (9e-7, "9e-07"),
        (5e-324, "5e-324"),
        (0.1 + 0.2, "0.30000000000000004"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_numbers(value: float, written: str) -> None:
    """As by Go's strconv within Prometheus's bounds, alone and among others."""
    assert number(value) == written
    for row in ([value], [value, 1.0], [2.5, value, 3.0], [4.0, value]):
        assert numbers(np.array(row))[row.index(value) if value == value else [x != x for x in row].index(True)] == (
            written.encode()
        )


@pytest.mark.parametrize(
    ("value", "written"), [(1e21, "1000000000000000000000"), (9e-7, "0.0000009"), (-1e-7, "-0.0000001"), (1.5, "1.5")]
)
def test_scalars_never_have_an_exponent(value: float, written: str) -> None:
    """Prometheus writes a scalar with Go's plain 'f'."""
    assert fixed(value) == written


@settings(max_examples=200)
@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_every_float_comes_back(values: list[float]) -> None:
    """Each text is the shortest that gives the value back."""
    for value, text in zip(values, numbers(np.array(values)), strict=True):
        assert text.decode() == number(value)
        back = float(text)
        assert back == value or (math.isnan(back) and math.isnan(value))
        assert math.copysign(1, back) == math.copysign(1, value) or math.isnan(value)
        assert not text.endswith(b".0")
        assert float(fixed(value)) == value or math.isnan(value)
        assert "e" not in fixed(value)


@pytest.mark.parametrize(
    ("t_ms", "written"),
    [(0, "0"), (1000, "1"), (1500, "1.500"), (1435781451781, "1435781451.781"), (-1500, "-1.500"), (-1, "-0.001")],
)
def test_timestamps(t_ms: int, written: str) -> None:
    """Without decimals or with three."""
    assert timestamp(t_ms).decode() == written


@settings(max_examples=100)
@given(
    st.integers(-(10**13), 10**14) | st.integers(10**12 - 3000, 10**12) | st.integers(10**13 - 3000, 10**13),
    st.lists(st.sampled_from([1, 500, 1000, 15_000]), max_size=20),
)
def test_templates_have_each_timestamp(first: int, steps: list[int]) -> None:
    """All at once or one by one, with decimals or without."""
    times = np.cumsum([first, *steps])
    assert point_template(times) == b"".join(b'"],[%s,"%%b' % timestamp(t) for t in times.tolist())
    assert point_template(times[:0]) == b""


def test_scalar_and_string() -> None:
    """`resultType` comes first; times are plain numbers."""
    scalar = Result("scalar", labels=[()], timestamps=np.array([4500]), values=np.array([[2.0]]))
    assert b"".join(result_json(scalar)) == b'{"status":"success","data":{"resultType":"scalar","result":[4.5,"2"]}}'
    text = Result("string", timestamps=np.array([1000]), string='a"b')
    assert b"".join(result_json(text)) == b'{"status":"success","data":{"resultType":"string","result":[1,"a\\"b"]}}'


@pytest.mark.parametrize("steps", [1, 7, 3000, 5000])
def test_a_whole_matrix_is_written_as_one_with_gaps_would_be(steps: int) -> None:
    """`complete` is a shortcut: each series has its own numbers, whole ones, fractions and special ones."""
    shape = (3, steps)
    values = np.arange(3.0 * steps).reshape(shape) / np.array([[1], [8], [1e9]])
    values[2, steps // 2] = math.nan
    labels = [UP, DOWN, (("__name__", "x"),)]
    times = np.arange(steps, dtype=np.int64) * 15_000

    def written(complete: bool) -> bytes:
        return b"".join(result_json(Result("matrix", labels, times, values, np.ones(shape, np.bool_), complete)))

    assert written(True) == written(False)
    assert [len(one["values"]) for one in json.loads(written(True))["data"]["result"]] == [steps] * 3


def test_vector() -> None:
    """Labels and one sample each."""
    result = Result("vector", [UP, ()], np.array([1500]), np.array([[1.0], [2.5]]))
    assert b"".join(result_json(result)) == (
        b'{"status":"success","data":{"resultType":"vector","result":['
        b'{"metric":{"__name__":"up","job":"a\\"b"},"value":[1.500,"1"]},{"metric":{},"value":[1.500,"2.5"]}]}}'
    )


def test_matrix_leaves_out_absent_points() -> None:
    """A series has the points at which it is present."""
    present = np.array([[True, True, True], [False, True, False]])
    values = np.array([[1.0, 2.0, 3.0], [0.0, math.nan, 0.0]])
    result = Result("matrix", [UP, DOWN], np.array([1000, 1500, 2000]), values, present)
    assert b"".join(result_json(result)).endswith(
        b'"values":[[1,"1"],[1.500,"2"],[2,"3"]]},{"metric":{"__name__":"down"},"values":[[1.500,"NaN"]]}]}}'
    )


def test_raw_matrix() -> None:
    """Series with samples of their own, some at common times."""
    times, other = np.array([1000, 2000]), np.array([1500])
    raw = [(times, np.array([1.0, 2.0])), (times, np.array([3.0, 4.0])), (other, np.array([5.0]))]
    assert [series["values"] for series in read(Result("matrix", [UP, DOWN, ()], raw=raw))["data"]["result"]] == [
        [[1, "1"], [2, "2"]],
        [[1, "3"], [2, "4"]],
        [[1.5, "5"]],
    ]


@pytest.mark.parametrize("kind", ["vector", "matrix"])
def test_empty(kind: Any) -> None:
    """An empty list, not null."""
    assert read(Result(kind)) == {"status": "success", "data": {"resultType": kind, "result": []}}


@pytest.mark.parametrize("count", [1, 4095, 4096, 4097, 20_000])
def test_slices_join_without_a_seam(count: int) -> None:
    """Long series and wide vectors are written in slices."""
    values = np.arange(count) / 4
    matrix = Result("matrix", [UP], np.arange(count) * 1000, values.reshape(1, -1), np.ones((1, count), bool))
    points = read(matrix)["data"]["result"][0]["values"]
    assert [point[0] for point in points] == list(range(count))
    assert [float(point[1]) for point in points] == values.tolist()
    vector = Result("vector", [(("i", str(i)),) for i in range(count)], np.array([0]), values.reshape(-1, 1))
    rows = read(vector)["data"]["result"]
    assert [(int(row["metric"]["i"]), float(row["value"][1])) for row in rows] == list(enumerate(values.tolist()))
    assert max(map(len, result_json(matrix))) < 200_000


def test_limit_warnings_infos_and_stats() -> None:
    """A truncation gives a warning; notes follow the data."""
    result = Result("vector", [UP, DOWN], np.array([0]), np.array([[1.0], [2.0]]), warnings=["w"], infos=["i"])
    reply = read(result, limit=1, stats={"samples": {}})
    assert len(reply["data"]["result"]) == 1
    assert reply["warnings"] == ["w", "results truncated due to limit"]
    assert reply["infos"] == ["i"]
    assert reply["data"]["stats"] == {"samples": {}}
    assert read(result, limit=2)["warnings"] == ["w"]
