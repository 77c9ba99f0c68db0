"""A page of metrics read again and again, beside prometheus_client's parser: `python -m bench.scrape`."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from prometheus_client.parser import text_string_to_metric_families

from prom_probe.collectors.scrape.page import ExpositionPage, PageLimits
from prom_probe.collectors.scrape.target_labels import TargetLabels

ROUNDS = 20


def make_page(samples: int, round_: int, moved: int) -> bytes:
    """A page of which each fourth value changes with the round; `moved` gives one series another name."""
    row = 'http_requests_total{{method="GET",path="/api/v1/item/{}",code="200"}} {}'
    rows = [row.format(i or -moved, 7 * i + round_ * (i % 4 == 0)) for i in range(samples)]
    return "\n".join([*rows, ""]).encode()


def milliseconds(work: Callable[[bytes], object], pages: list[bytes]) -> float:
    """The median time that `work` takes for a page."""
    times = []
    for page in pages:
        start = time.perf_counter()
        work(page)
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def parse_with_library(page: bytes) -> int:
    return sum(len(family.samples) for family in text_string_to_metric_families(page.decode()))


def main() -> None:
    print("milliseconds a page, median; ratio: library / same series")
    print(f"{'samples':>8} {'first':>9} {'same series':>12} {'another one':>12} {'library':>9} {'ratio':>6}")
    for samples in (100, 500, 5000):
        page = ExpositionPage(PageLimits(), TargetLabels({}).finish)

        def read(body: bytes, page: ExpositionPage = page) -> None:
            page.read(body, False)

        first = milliseconds(read, [make_page(samples, 0, 0)])
        pages = [make_page(samples, i, 0) for i in range(1, ROUNDS)]
        same = milliseconds(read, pages)
        other = milliseconds(read, [make_page(samples, i, i) for i in range(1, ROUNDS)])
        library = milliseconds(parse_with_library, pages)
        print(f"{samples:8} {first:9.2f} {same:12.3f} {other:12.3f} {library:9.2f} {library / same:6.0f}")


if __name__ == "__main__":
    main()
