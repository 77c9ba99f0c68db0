"""A process that queries over the Unix socket, in several threads, and compares every answer with a formula."""

from __future__ import annotations

import json
import math
import mmap
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from prom_probe.cli.client import UnixConnection

STEP_MS = 1000
SERIES = 24
KINDS = ("counter", "noise", "level")
LIFE = 128  # beats that a `brief` series has
BATCH = 40  # beats a request

# So many of the newest acknowledged beats must be there, whatever is dropped. Queries that need all their beats ask for
# the newest half of them, so that few are late.
KEPT = 2000

THREADS = 2  # of a reader

# Cells of the board, 8 bytes each; from COUNTS on, one for each thread: the answers that it has compared.
START_MS, SENT, ACKNOWLEDGED, STOP, COUNTS = range(5)
BOARD_BYTES = 8 * 64

_MASK = (1 << 64) - 1

Labels = tuple[tuple[str, str], ...]
Points = dict[Labels, list[tuple[int, float]]]  # beats and values


def _noise(i: int, beat: int) -> int:
    """53 bits without a pattern (splitmix64)."""
    x = (beat * 0x9E3779B97F4A7C15 + i * 0xD1B54A32D192ED03) & _MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK
    return (x ^ x >> 31) >> 11


def value(i: int, beat: int) -> float:
    """What `stress{i=…}` has at a beat: a steady counter, a float with a full mantissa, or a small whole number."""
    if i % 3 == 0:
        return float(beat * (i + 1))
    return _noise(i, beat) / 3 if i % 3 == 1 else float(_noise(i, beat) % 1000)


def stress(i: int) -> Labels:
    """The labels of series `i`."""
    return (("__name__", "stress"), ("i", f"{i:02}"), ("kind", KINDS[i % 3]))


def brief(number: int) -> Labels:
    """The labels of a series that lives from beat `number * LIFE` on for LIFE beats; its values are the beats."""
    return (("__name__", "brief"), ("life", f"{number:06}"))


def open_board(path: Path) -> memoryview:
    """What the writer and the readers tell each other, in a mapped file; a cell is written in one go."""
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), BOARD_BYTES)).cast("q")


class Span(NamedTuple):
    """Beats [first, last]."""

    first: int
    last: int


class Reader:
    """One thread's connection, and what it knows of the store."""

    def __init__(self, path: str, board: memoryview, rng: random.Random) -> None:
        self.rng = rng
        self.board = board
        self._connection = UnixConnection(path)
        self._start_ms: int = board[START_MS]
        self._gone: dict[Labels, int] = {}  # by series: beats before it are known to be dropped

    def get(self, path: str, **parameters: object) -> Any:
        """The `data` of an answer, which must be 200."""
        self._connection.request("GET", f"/api/v1/{path}?{urlencode(parameters, doseq=True)}")
        response = self._connection.getresponse()
        body = response.read()
        assert response.status == 200, (response.status, path, parameters, body[:500])
        return json.loads(body)["data"]

    def time_s(self, beat: float) -> float:
        return (self._start_ms + beat * STEP_MS) / 1000

    def beat(self, t_s: float) -> int:
        """The beat of a timestamp, which must be one."""
        beat, rest = divmod(round(t_s * 1000) - self._start_ms, STEP_MS)
        assert not rest, f"{t_s} is no time that was written"
        return beat

    @property
    def floor(self) -> int:
        """The oldest beat that must be there: every answer that was made before has it and all later ones."""
        return max(0, int(self.board[ACKNOWLEDGED]) + 1 - KEPT)

    def recent(self, width: int) -> Span:
        """Beats that are acknowledged and must be there, at most `width`, often up to the newest."""
        last = int(self.board[ACKNOWLEDGED]) - self.rng.choice([0, self.rng.randrange(KEPT // 2 - width)])
        return Span(last + 1 - self.rng.randrange(1, width), last)

    def points(self, selector: str, span: Span) -> Points:
        """The raw samples of an instant query of a range, left-open."""
        width_ms = (span.last - span.first + 1) * STEP_MS
        data = self.get("query", query=f"{selector}[{width_ms}ms]", time=self.time_s(span.last))
        assert data["resultType"] == "matrix"
        return self.beats(data["result"])

    def beats(self, result: list[Any]) -> Points:
        """A matrix by series, each of them once."""
        found: Points = {}
        for one in result:
            labels = tuple(sorted(one["metric"].items()))
            assert labels not in found, f"twice: {labels}"
            found[labels] = [(self.beat(t), float(v)) for t, v in one["values"]]
        return found

    def compare_stress(self, found: Points, wanted: list[int], span: Span, last: range) -> None:
        """Each series without a hole, from what is not dropped to a beat in `last`, and every value as it was sent."""
        firsts = []
        for i in wanted:
            points = found.pop(stress(i), [])
            first, end = (points[0][0], points[-1][0]) if points else (span.last + 1, last[0])
            assert [beat for beat, _ in points] == list(range(first, first + len(points))), f"holes in {i}"
            assert not points or end in last, f"{i} ends at {end}, not in {last}"
            assert span.first <= first <= max(span.first, self.floor), f"{i} begins at {first}, not {span.first}"
            assert not points or first >= self._gone.get(stress(i), 0), f"{i}: what was dropped is back"
            wrong = [(beat, v, value(i, beat)) for beat, v in points if v != value(i, beat)]
            assert not wrong, f"values of {i}: {wrong[:5]}"
            if first > span.first and points:
                self._gone[stress(i)] = first
            firsts.append(first)
        assert not found, f"not asked for: {list(found)[:5]}"
        # What is dropped are pieces, which have all series; one may have begun in the middle of a request.
        assert max(firsts) - min(firsts) <= BATCH, f"dropped unevenly: {firsts}"

    def selection(self) -> tuple[str, list[int]]:
        """A selector, and the series that it selects."""
        i = self.rng.randrange(SERIES)
        kind = KINDS[i % 3]
        return self.rng.choice(
            [
                (f'stress{{i="{i:02}"}}', [i]),
                (f'stress{{kind="{kind}"}}', list(range(i % 3, SERIES, 3))),
                (f'stress{{i=~".{i % 10}"}}', list(range(i % 10, SERIES, 10))),
                ("stress", list(range(SERIES))),
            ]
        )


def old_points(reader: Reader) -> bool:
    """Samples of any age: what is dropped is missing at the beginning, and nothing else."""
    selector, wanted = reader.selection()
    last = reader.rng.randrange(int(reader.board[ACKNOWLEDGED]) + 1)
    span = Span(max(0, last - reader.rng.randrange(400)), last)
    reader.compare_stress(reader.points(selector, span), wanted, span, range(last, last + 1))
    return True


def newest_points(reader: Reader) -> bool:
    """Samples up to the newest, which come while we read."""
    selector, wanted = reader.selection()
    acknowledged = int(reader.board[ACKNOWLEDGED])
    span = Span(acknowledged - reader.rng.randrange(200), acknowledged + 10_000)
    found = reader.points(selector, span)
    reader.compare_stress(found, wanted, span, range(acknowledged, int(reader.board[SENT]) + 1))
    return True


def range_of_values(reader: Reader) -> bool:
    """query_range: the sample at each step, looked at a little later."""
    selector, wanted = reader.selection()
    span, step, late = reader.recent(400), reader.rng.randrange(1, 20), reader.rng.choice([0, 0.5])
    data = reader.get(
        "query_range",
        query=selector,
        start=reader.time_s(span.first) + late,
        end=reader.time_s(span.last) + late,
        step=step * STEP_MS / 1000,
    )
    found = {
        tuple(sorted(one["metric"].items())): [(t_s, float(v)) for t_s, v in one["values"]] for one in data["result"]
    }
    if span.first < reader.floor:
        return False
    steps = range(span.first, span.last + 1, step)
    assert found == {stress(i): [(reader.time_s(at) + late, value(i, at)) for at in steps] for i in wanted}
    return True


def aggregations(reader: Reader) -> bool:
    """Sums, counts and rates of all series, at some steps."""
    reach = 60  # beats that an expression looks back
    span, step = reader.recent(300), reader.rng.randrange(5, 40)
    rows: dict[str, Callable[[int], dict[str, float]]] = {
        "count(stress)": lambda at: {"": SERIES},
        "count by (kind) (stress)": lambda at: dict.fromkeys(KINDS, SERIES / 3),
        "sum by (kind) (stress)": lambda at: {
            kind: math.fsum(value(i, at) for i in range(n, SERIES, 3)) for n, kind in enumerate(KINDS)
        },
        'sum(count_over_time(stress{kind="noise"}[1m]))': lambda at: {"": reach * SERIES / 3},
        'sum(sum_over_time(stress{kind="level"}[1m]))': lambda at: {
            "": sum(value(i, b) for i in range(2, SERIES, 3) for b in range(at - reach + 1, at + 1))
        },
        'sum(rate(stress{kind="counter"}[1m]))': lambda at: {"": sum(i + 1 for i in range(0, SERIES, 3))},
        'max(max_over_time(stress{kind="level"}[1m]))': lambda at: {
            "": max(value(i, b) for i in range(2, SERIES, 3) for b in range(at - reach + 1, at + 1))
        },
    }
    expr, model = reader.rng.choice(list(rows.items()))
    start, end = reader.time_s(span.first), reader.time_s(span.last)
    data = reader.get("query_range", query=expr, start=start, end=end, step=step * STEP_MS / 1000)
    found = {one["metric"].get("kind", ""): one["values"] for one in data["result"]}
    if span.first - reach < reader.floor:
        return False
    steps = range(span.first, span.last + 1, step)
    models = [model(at) for at in steps]
    assert found.keys() == models[0].keys(), (expr, found.keys())
    for key, values in found.items():
        assert [reader.beat(t) for t, _ in values] == list(steps), f"steps of {expr}"
        exact = key != "noise" and "rate" not in expr
        for (t, text), wanted in zip(values, models, strict=True):
            right = float(text) == wanted[key] if exact else math.isclose(float(text), wanted[key], rel_tol=1e-12)
            assert right, f"{expr} at {reader.beat(t)}: {text}, not {wanted[key]}"
    return True


def brief_points(reader: Reader) -> bool:
    """Series that come and go: each has its own part of the beats."""
    span = reader.recent(400)
    found = reader.points("brief", span)
    if span.first < reader.floor:
        return False
    wanted: Points = {}
    for at in range(span.first, span.last + 1):
        wanted.setdefault(brief(at // LIFE), []).append((at, float(at)))
    assert found == wanted
    return True


def listed(reader: Reader) -> bool:
    """Series, label names and label values of a span."""
    span = reader.recent(400)
    times = {"start": reader.time_s(span.first), "end": reader.time_s(span.last)}
    lives = [brief(number) for number in range(span.first // LIFE, span.last // LIFE + 1)]
    rows: list[tuple[str, dict[str, object], object]] = [
        ("series", {"match[]": "brief"}, [dict(one) for one in lives]),
        ("series", {"match[]": "stress"}, [dict(stress(i)) for i in range(SERIES)]),
        ("series", {"match[]": ["stress{i='03'}", "brief"]}, [dict(one) for one in [*lives, stress(3)]]),
        ("labels", {"match[]": "{__name__=~'stress|brief'}"}, ["__name__", "i", "kind", "life"]),
        ("label/life/values", {}, [life for _, (_, life) in lives]),
        ("label/life/values", {"match[]": "brief"}, [life for _, (_, life) in lives]),
        ("label/i/values", {}, [f"{i:02}" for i in range(SERIES)]),
        ("label/i/values", {"match[]": "stress{kind='noise'}"}, [f"{i:02}" for i in range(1, SERIES, 3)]),
        ("label/kind/values", {}, sorted(KINDS)),
    ]
    path, form, wanted = reader.rng.choice(rows)
    found = reader.get(path, **form, **times)
    if span.first < reader.floor:
        return False
    assert found == wanted, (path, form, found, wanted)
    return True


def all_lives(reader: Reader) -> bool:
    """The values of a label without a span: none is missing between what is dropped and what is new."""
    acknowledged = int(reader.board[ACKNOWLEDGED])
    found = [int(text) for text in reader.get("label/life/values")]
    assert found == list(range(found[0], found[-1] + 1))
    assert found[0] * LIFE <= reader.floor
    assert acknowledged // LIFE <= found[-1] <= int(reader.board[SENT]) // LIFE
    return True


CHECKS: tuple[Callable[[Reader], bool], ...] = (
    old_points,
    newest_points,
    range_of_values,
    aggregations,
    brief_points,
    listed,
    all_lives,
)


def _in_turn(rng: random.Random) -> Iterator[Callable[[Reader], bool]]:
    """Every check equally often, in changing order."""
    while True:
        yield from rng.sample(CHECKS, len(CHECKS))


def read_and_compare(path: str, board: memoryview, number: int) -> None:
    """`number` of the thread: compares until STOP is set."""
    reader = Reader(path, board, random.Random(number))
    for check in _in_turn(reader.rng):
        if board[STOP]:
            return
        board[COUNTS + number] += check(reader)


def read_slowly(path: str, board: memoryview, number: int) -> None:
    """Take all there is in one answer, piece by piece, while the writer goes on; compare it at the end."""
    reader = Reader(path, board, random.Random(number))
    last = int(board[ACKNOWLEDGED])
    form = urlencode({"query": f"stress[{(last + 1) * STEP_MS}ms]", "time": reader.time_s(last)})
    connection = UnixConnection(path)
    connection.request("GET", f"/api/v1/query?{form}")
    response = connection.getresponse()
    body = bytearray()
    board[COUNTS + number] = 1
    while piece := response.read(1 << 18):
        body += piece
        since, end = int(board[ACKNOWLEDGED]), time.monotonic() + 0.5
        while not board[STOP] and board[ACKNOWLEDGED] == since and time.monotonic() < end:
            time.sleep(0.01)
    assert len(body) > 1 << 21, "large enough to be made while it is taken"
    found = reader.beats(json.loads(body)["data"]["result"])
    wanted = list(range(SERIES))
    reader.compare_stress(found, wanted, Span(0, last), range(last, last + 1))
    board[COUNTS + number] = 2


def be_killed(path: str, board: memoryview, number: int) -> None:
    """Begin to take a large answer, and wait for the end."""
    reader = Reader(path, board, random.Random(number))
    connection = UnixConnection(path)
    form = urlencode({"query": f"stress[{KEPT}s]", "time": reader.time_s(int(board[ACKNOWLEDGED]))})
    connection.request("GET", f"/api/v1/query?{form}")
    response = connection.getresponse()
    assert response.status == 200, response.read()
    assert response.chunked, "an answer that is made while it is taken"
    response.read(1000)
    board[COUNTS + number] = 1
    signal.pause()


ROLES = {"read": read_and_compare, "slow": read_slowly, "killed": be_killed}


def main(role: str, path: str, board_path: str, *numbers: str) -> int:
    """Play a role in a thread for each number; 1 and a traceback if anything was not as it must be."""
    board = open_board(Path(board_path))
    failed = threading.Event()

    def work(number: int) -> None:
        try:
            ROLES[role](path, board, number)
        except BaseException:
            traceback.print_exc()
            failed.set()
            board[STOP] = 1

    if role == "killed":
        work(int(numbers[0]))  # in the main thread, where signals are waited for
        return 1
    threads = [threading.Thread(target=work, args=(int(number),)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return int(failed.is_set())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
