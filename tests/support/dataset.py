"""The data of the store's and the query engine's benchmarks: counters and gauges, one sample a second, in shapes."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Iterator

from prom_probe.model.labels import Labels, make_labels

JOBS = 10


def counters(count: int, samples: int, seed: int = 1, shape: str = "ticks") -> Iterator[tuple[Labels, array[float]]]:
    """`count` counters `x{job,instance}` of a shape (SHAPES)."""
    return _series("x", count, samples, SHAPES[shape][0], seed)


def gauges(count: int, samples: int, seed: int = 2, shape: str = "ticks") -> Iterator[tuple[Labels, array[float]]]:
    """`count` gauges `g{job,instance}` of a shape (SHAPES)."""
    return _series("g", count, samples, SHAPES[shape][1], seed)


Kind = Callable[[random.Random, int], "array[float]"]


def _series(
    name: str, count: int, samples: int, kinds: tuple[Kind, ...], seed: int
) -> Iterator[tuple[Labels, array[float]]]:
    for i in range(count):
        labels = make_labels(name, {"job": f"job-{i % JOBS}", "instance": f"host-{i // JOBS:03}:9100"})
        yield labels, kinds[i % len(kinds)](random.Random(f"{seed}/{i}"), samples)


def _ticks(source: random.Random, samples: int) -> array[float]:
    """CPU seconds as the kernel counts them: hundredths."""
    ticks, busy, values = source.randrange(100_000), source.random(), array("d")
    for _ in range(samples):
        ticks += min(100, max(0, round(source.gauss(100 * busy, 8))))
        values.append(ticks / 100)
    return values


def _bursts(source: random.Random, samples: int) -> array[float]:
    """Bytes sent: nothing most of the time, then a lot."""
    total, values = source.randrange(1 << 40), array("d")
    for _ in range(samples):
        if source.random() < 0.2:
            total += int(source.expovariate(1 / 200_000))
        values.append(float(total))
    return values


def _full_counter(source: random.Random, samples: int) -> array[float]:
    """Seconds as a float: every bit of the mantissa is used."""
    total, values = source.random() * 1e5, array("d")
    for _ in range(samples):
        total += source.random()
        values.append(total)
    return values


def _pages(source: random.Random, samples: int) -> array[float]:
    """Resident memory: a walk in pages of 4 KiB that often rests."""
    pages, values = source.randrange(1000, 500_000), array("d")
    for _ in range(samples):
        if source.random() < 0.5:
            pages = max(0, pages + round(source.gauss(0, 40)))
        values.append(pages * 4096.0)
    return values


def _percentages(source: random.Random, samples: int) -> array[float]:
    """A percentage with two decimals."""
    level, values = source.random() * 100, array("d")
    for _ in range(samples):
        level = min(100.0, max(0.0, level + source.gauss(0, 1.5)))
        values.append(round(level, 2))
    return values


def _full_gauge(source: random.Random, samples: int) -> array[float]:
    """A noisy wave: every bit of the mantissa is used."""
    phase, values = source.random() * math.tau, array("d")
    for t in range(samples):
        values.append(math.sin(t / 300 + phase) * 50 + source.gauss(0, 5))
    return values


def _lognormal_counter(source: random.Random, samples: int) -> array[float]:
    """A total that grows by steps of all magnitudes: every bit of the mantissa is used."""
    total, values = source.random(), array("d")
    for _ in range(samples):
        total += source.lognormvariate(0, 2)
        values.append(total)
    return values


def _lognormal_gauge(source: random.Random, samples: int) -> array[float]:
    """A level that is multiplied by about one each second: every bit of the mantissa is used."""
    level, values = source.lognormvariate(0, 5), array("d")
    for _ in range(samples):
        level *= source.lognormvariate(0, 0.1)
        values.append(level)
    return values


# What counters and gauges are like, one after the other.
SHAPES: dict[str, tuple[tuple[Kind, ...], tuple[Kind, ...]]] = {
    "ticks": ((_ticks, _bursts, _full_counter), (_pages, _percentages, _full_gauge)),
    "lognormal": ((_lognormal_counter,), (_lognormal_gauge,)),
}
