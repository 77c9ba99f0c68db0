"""The largest GPU memory of GPUs and trees in the rolling window, so that the next scrape shows a peak."""

from prom_probe.collectors.base import Context
from prom_probe.collectors.gpu import families
from prom_probe.collectors.gpu.checkpoint import SavedMaxima
from prom_probe.collectors.series import SeriesWriter
from prom_probe.collectors.window import WindowMax


class GpuMaxima:
    """Call `add` for each reading of a collection, then `write`. A GPU or tree that is gone keeps its maximum."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._windows: dict[tuple[str, ...], WindowMax] = {}

    def add(self, value: float, *labels: str) -> None:
        """`labels` are a GPU's uuid, or a tree and a GPU's uuid."""
        window = self._windows.get(labels)
        if window is None:
            window = self._windows[labels] = WindowMax(self._context.max_window_s)
        window.add(self._context.monotonic(), value)

    def write(self, series: SeriesWriter) -> None:
        now_s = self._context.monotonic()
        for labels, window in list(self._windows.items()):
            value = window.read(now_s)
            if value is None:
                del self._windows[labels]
            elif len(labels) == 1:
                series.write(families.MEMORY_USED_MAX, value, *labels)
            else:
                series.write(families.TREE_MEMORY_MAX, value, *labels)

    def save(self) -> SavedMaxima:
        return [(list(labels), window.save()) for labels, window in self._windows.items()]

    def restore(self, saved: SavedMaxima) -> None:
        for labels, kept in saved:
            window = self._windows[tuple(labels)] = WindowMax(self._context.max_window_s)
            window.restore(kept)
