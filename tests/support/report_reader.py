"""Reads a report's data, by the drawing in prom_probe/cli/report/packing.py."""

from __future__ import annotations

import json
from typing import Any


class Reader:
    """Reads numbers one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> list[int]:
        found, last = [], 0
        for _ in range(count):
            number = shift = 0
            while True:
                byte = self.data[self.at]
                self.at += 1
                number |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            last += (number >> 1) ^ -(number & 1)
            found.append(last)
        return found


def unpack(data: bytes) -> tuple[Any, list[tuple[str, str, str, list[int], list[float]]]]:
    size = int.from_bytes(data[:4], "big")
    head = json.loads(data[4 : 4 + size])
    reader = Reader(data[4 + size :])
    grids = [reader.take(count) for count in head["grids"]]
    series = []
    for one in head["series"]:
        places = [first + more for first, count in one["runs"] for more in range(count)]
        values = [number * one["times"] / one["per"] for number in reader.take(len(places))]
        series.append(
            (one["metric"], one["tree"], one["label"], [grids[one["grid"]][place] for place in places], values)
        )
    assert reader.at == len(reader.data)
    return head["about"], series
