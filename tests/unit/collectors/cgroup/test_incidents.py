"""What happens to a cgroup between two collections."""

from __future__ import annotations

from prom_probe.collectors.cgroup.incidents import CgroupIncidents


def counters(kills: float, throttled: float, **more: float) -> dict[str, float]:
    return {"oom_kills": kills, "throttled_periods": throttled, **more}


def test_oom_kills_are_told_when_the_counter_rises() -> None:
    """Not those before the first reading, nor in another cgroup."""
    incidents = CgroupIncidents()
    assert list(incidents.look(counters(3, 0), 0)) == []
    assert list(incidents.look(counters(3, 0), 1)) == []
    assert list(incidents.look(counters(4, 0), 2)) == [
        ("oom_kill", "1 process of the cgroup killed because memory ran out")
    ]
    assert list(incidents.look(counters(6, 0), 3)) == [
        ("oom_kill", "2 processes of the cgroup killed because memory ran out")
    ]
    incidents.forget()
    assert list(incidents.look(counters(9, 0), 4)) == []
    assert list(incidents.look({}, 5)) == []
    assert list(incidents.look(counters(10, 0), 6)) == []


def test_throttling_is_told_when_it_begins() -> None:
    """Once while it lasts, and again after ten seconds without it."""
    incidents = CgroupIncidents()
    told = []
    for now_s, throttled in ((0, 5), (1, 5), (2, 6), (3, 7), (9, 7), (11, 8), (21, 8), (22, 9), (40, 9), (41, 10)):
        told += [(now_s, *one) for one in incidents.look(counters(0, throttled, cpus_effective=1.5), now_s)]
    assert told == [
        (2, "throttled", "at its limit of 1.5 CPUs"),
        (22, "throttled", "at its limit of 1.5 CPUs"),
        (41, "throttled", "at its limit of 1.5 CPUs"),
    ]
