"""The verdict of a soak: what it accepts, and that each kind of harm fails it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.soak.record import Event, Failure, Reading, Record
from tests.support.soak.trouble import ROUND, ROUND_S, plan
from tests.support.soak.verdict import BOUNDS, judge, table

_SPAN_S = 600
_KILLED_S = 300.0
_LINE = 'ts=2026-01-01T00:00:00Z level={} component=aggregator msg="{}" worker=process'


def record(value: Callable[[str, str, float], float] = lambda process, quantity, t_s: 0.0) -> Record:
    """Ten good minutes, in which the process worker is killed once; `value` comes on top of a reading."""
    made = Record(begun_s=0.0, ended_s=_SPAN_S, status=0)
    for t_s in range(0, _SPAN_S, 2):
        for process in ("supervisor", "aggregator"):
            for quantity, usual in (("PSS", 20e6 + t_s % 7 * 1e5), ("descriptors", 30 + t_s % 3), ("threads", 5)):
                made.readings.append(Reading(t_s, process, quantity, usual + value(process, quantity, t_s)))
    made.events = [Event(0, "start", "all"), Event(_KILLED_S, "kill", "process"), Event(_SPAN_S, "end", "all")]
    made.requests.update({"reading of /metrics": 3000})
    made.ticks = {"process": {t + 0.1 for t in range(1, _SPAN_S)}}
    made.counters = {"restarts": [0, 1], "persistent": [1]}
    made.log = _LINE.format("warn", "worker ended")
    return made


def bad(made: Record) -> list[str]:
    return [row.what for row in judge(made) if not row.good]


def test_ten_good_minutes_pass() -> None:
    """Every row is in the table."""
    made = record()
    assert bad(made) == []
    assert table(judge(made)).count("| ok |") == len(judge(made))


# By quantity, how fast it may leak in an hour's soak before that is told in ten minutes.
LEAKS = {"PSS": 20e3, "descriptors": 0.015, "threads": 0.005}


@pytest.mark.parametrize("quantity", BOUNDS)
@pytest.mark.parametrize("process", ["supervisor", "aggregator"])
def test_a_leak_fails(process: str, quantity: str) -> None:
    """Of one quantity of one process, by so much a second; a tenth of it may be chance."""

    def leak(rate: float) -> Callable[[str, str, float], float]:
        return lambda p, q, t_s: rate * t_s if (p, q) == (process, quantity) else 0.0

    assert bad(record(leak(LEAKS[quantity]))) == [f"{quantity}, {process}"]
    assert bad(record(leak(LEAKS[quantity] / 10))) == []


def test_what_comes_in_the_middle_and_goes_again_is_no_leak() -> None:
    """Such as what waits while the disk is full."""
    assert bad(record(lambda process, quantity, t_s: 1e7 * (200 <= t_s < 400))) == []


def test_a_process_that_does_not_come_back_fails() -> None:
    """It has no readings in the last third."""
    made = record()
    made.readings = [one for one in made.readings if one.process != "aggregator" or one.t_s < 300]
    assert bad(made) == [f"{quantity}, aggregator" for quantity in BOUNDS]


@pytest.mark.parametrize(
    ("from_s", "to_s", "complete"),
    [(301, 309, True), (301, 330, False), (320, 321, False), (100, 101, False), (580, 600, False), (1, 30, False)],
)
def test_ticks_may_be_missing_beside_a_kill_alone(from_s: int, to_s: int, complete: bool) -> None:
    """At the begin and the end too."""
    made = record()
    made.ticks["process"] -= {t + 0.1 for t in range(from_s, to_s)}
    assert (bad(made) == []) == complete


def test_ticks_that_are_counted_as_overrun_may_be_missing() -> None:
    """And no more of them."""
    made = record()
    made.ticks["process"] -= {100.1, 200.1}
    made.counters["overruns process"] = [3, 5]
    assert bad(made) == []
    made.counters["overruns process"] = [3, 4]
    assert bad(made) == ["ticks missing, process"]


def test_ticks_after_a_restart_of_the_aggregator_count_anew() -> None:
    """The counter begins at zero."""
    made = record()
    made.counters["x"] = [3, 5, 1, 2]
    assert made.increase("x") == 4


@pytest.mark.parametrize(("worker", "good"), [("aggregator", True), ("process", False)])
def test_readings_may_fail_as_the_aggregator_is_killed(worker: str, good: bool) -> None:
    """And at no other time."""
    made = record()
    made.events.append(Event(400.0, "disturbed", worker))
    made.failures.append(Failure(401.0, "reading of /metrics", "reset"))
    assert (bad(made) == []) == good


def _log(made: Record, count: int, line: str) -> None:
    made.log += f"\n{line}" * count


HARM: dict[str, tuple[Callable[[Record], object], list[str]]] = {
    "nobody asked": (
        lambda made: made.requests.update({"reading of /metrics": -3000}),
        ["failed, reading of /metrics"],
    ),
    "no ticks": (lambda made: made.ticks["process"].clear(), ["ticks missing, process"]),
    "a traceback": (lambda made: _log(made, 1, "Traceback"), ["log, no log line: Traceback"]),
    "a flood": (
        lambda made: _log(made, 500, _LINE.format("info", "again")),
        ["log lines", "log, info: again"],
    ),
    "a kill without a restart": (lambda made: made.counters.update(restarts=[0, 0]), ["workers restarted"]),
    "a restart without a kill": (lambda made: made.counters.update(restarts=[0, 2]), ["workers restarted"]),
    "in memory alone": (lambda made: made.counters.update(persistent=[1, 0]), ["written to disk at the end"]),
    "a disk that was not full": (
        lambda made: made.events.append(Event(250.0, "disk full")),
        ["writes refused by the full disk"],
    ),
    "an end by a signal": (lambda made: setattr(made, "status", -9), ["exit status"]),
    "a process left": (lambda made: made.left.append("system 7"), ["processes left"]),
    "damage": (lambda made: setattr(made, "stored", "block: damaged"), ["what is stored is intact"]),
}


@pytest.mark.parametrize("harm", HARM)
def test_harm_fails(harm: str) -> None:
    """In its own row."""
    made = record()
    do, rows = HARM[harm]
    do(made)
    assert bad(made) == rows


def test_trouble_is_in_the_middle_third() -> None:
    """What is done in the first or the last third would change what they are compared by."""
    times = [t_s for t_s, _ in plan(3600)]
    assert len(times) == 10 * len(ROUND)
    assert min(times) >= 1200 and max(times) <= 1200 + 10 * ROUND_S
    assert [each for _, each in plan(60)] == list(ROUND)
