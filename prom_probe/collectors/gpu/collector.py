"""The GPU collector: the GPUs of all vendors, and what the watched trees use of them."""

import msgspec

from prom_probe.collectors.base import Context
from prom_probe.collectors.gpu import families
from prom_probe.collectors.gpu.checkpoint import GpuState, decode_gpu_state
from prom_probe.collectors.gpu.faults import Faults
from prom_probe.collectors.gpu.feed import Feed, Renew
from prom_probe.collectors.gpu.maxima import GpuMaxima
from prom_probe.collectors.gpu.processes import GpuProcesses
from prom_probe.collectors.gpu.source import GpuInfo, GpuSample
from prom_probe.collectors.gpu.sources import make_sources
from prom_probe.collectors.process.membership import decode_members
from prom_probe.collectors.series import SeriesWriter
from prom_probe.model.definition import ODD_ROWS, READABLE
from prom_probe.model.layout import Layout
from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_statm import parse_proc_pid_statm

# Seconds between two searches for new GPUs.
_LOOK_S = 60.0
# The worker ends itself when it has grown by this much since its first sample: the driver's library leaks.
_LEAK_BYTES = 256 << 20


class GpuCollector:
    """See `Collector`. Each source is called in its own thread, so that a hanging driver does not hold up a beat."""

    name = "gpu"

    def __init__(self, context: Context) -> None:
        self.layout = Layout()
        self._context = context
        self._series = SeriesWriter(self.layout)
        self._faults = Faults(context)
        self._feeds: dict[str, Feed] = {}
        self._look_at_s = 0.0
        self._start_s = context.started_s or context.monotonic()
        self._first_sample_s: float | None = None
        self._known: dict[str, dict[str, GpuInfo]] = {}  # by source and uuid
        self._wrapped: dict[tuple[str, str, str], float] = {}
        self._raw: dict[tuple[str, str, str], tuple[int, int]] = {}  # and how often the source had been opened by then
        self._xids: dict[tuple[str, int], int] = {}
        self._maxima = GpuMaxima(context)
        self._processes = GpuProcesses(context, self._series, self._maxima)
        self._resident = 0

    def collect(self) -> None:
        self.layout.maybe_compact()
        now_s = self._context.monotonic()
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + _LOOK_S
            self._look()
            self._check_size()
        trees = decode_members(self._context.read_members())
        self._series.begin()
        self._processes.begin(trees)
        took_s = 0.0
        for feed in self._feeds.values():
            feed.collect(trees)
            took_s += self._write_feed(feed)
        self._processes.end()
        self._maxima.write(self._series)
        self._write_health(took_s)
        self._series.end()

    def _look(self) -> None:
        """Add the sources of new GPUs. A GPU that has gone keeps its source, which shows that it is not up."""
        for source in make_sources(self._context, self._feeds.keys()):
            self._feeds[source.name] = Feed(source, self._context, self._faults)

    def _write_feed(self, feed: Feed) -> float:
        """Write the series of a source's GPUs; returns the seconds that its sample took."""
        known = self._known.setdefault(feed.source.name, {})
        self._series.write(READABLE, feed.is_open and not feed.hung, f"gpu_{feed.source.name}")
        if feed.samples is None:
            if not feed.is_open or feed.hung:
                for info in known.values():
                    self._series.write(families.INFO, 1, *_labels(info))
                    self._series.write(families.UP, 0, info.uuid)
            return 0.0
        if self._first_sample_s is None and feed.samples:
            self._first_sample_s = self._context.monotonic() - self._start_s
            self._resident = self._read_resident()
        known.clear()
        for sample in feed.samples:
            known[sample.info.uuid] = sample.info
            self._write_gpu(sample, feed.opened)
        return feed.took_s

    def _write_gpu(self, sample: GpuSample, opened: int) -> None:
        write, uuid = self._series.write, sample.info.uuid
        write(families.INFO, 1, *_labels(sample.info))
        write(families.UP, sample.up, uuid)
        if sample.suspended is not None:
            write(families.SUSPENDED, sample.suspended, uuid)
        for (name, label), value in sample.values.items():
            self._write_reading(uuid, name, label, value)
            if name == "memory_used_bytes":
                self._maxima.add(value, uuid)
        for (name, label), (raw, modulus) in sample.wrapping.items():
            self._write_reading(uuid, name, label, self._unwrap((uuid, name, label), raw, modulus, opened))
        for xid in sample.xids:
            self._xids[uuid, xid] = self._xids.get((uuid, xid), 0) + 1
        for (of, xid), count in self._xids.items():
            if of == uuid:
                self._write_reading(uuid, "xid_errors_total", str(xid), count)
        for mig in sample.mig:
            write(families.MIG_INFO, 1, uuid, mig.uuid, mig.gpu_instance, mig.compute_instance)
        if not sample.up:
            self._raw = {key: raw for key, raw in self._raw.items() if key[0] != uuid}
        for error in sample.faults:
            self._faults.note(f"GPU {uuid}", error)
        self._processes.add(sample)

    def _write_reading(self, uuid: str, name: str, label: str, value: float) -> None:
        definition = families.READINGS[name]
        labels = (uuid, label) if len(definition.labels) > 1 else (uuid,)
        self._series.write(definition, value, *labels)

    def _unwrap(self, key: tuple[str, str, str], raw: int, modulus: int, opened: int) -> float:
        """The counter's total, with what it has gained; the gain during a reload of the driver is not known."""
        before = self._raw.get(key)
        self._raw[key] = raw, opened
        if before is None or before[1] != opened:
            total = self._wrapped.get(key, 0.0 if before else float(raw))
        else:
            # A value that fell from below 2^32 wrapped at 2^32, even where its type is wider.
            wraps_at = 1 << 32 if raw < before[0] < 1 << 32 else modulus
            total = self._wrapped[key] + (raw - before[0]) % wraps_at
        self._wrapped[key] = total
        return total

    def _write_health(self, took_s: float) -> None:
        write = self._series.write
        for (call, code), count in self._faults.counts.items():
            write(families.ERRORS, count, call, code)
        self._faults.end()
        for source, rows in self._context.odd_rows.counts.items():
            write(ODD_ROWS, rows, source)
        if took_s:
            write(families.SAMPLE_DURATION, took_s)
        if self._first_sample_s is not None:
            write(families.FIRST_SAMPLE, self._first_sample_s)

    def _read_resident(self) -> int:
        try:
            return parse_proc_pid_statm(read_once("/proc/self/statm"))[1] * self._context.page_bytes
        except (OSError, ParseError):
            return 0

    def _check_size(self) -> None:
        grown = self._read_resident() - self._resident if self._resident else 0
        if grown > _LEAK_BYTES:
            raise Renew(f"the worker has grown by {grown >> 20} MiB: the driver's library leaks")

    def checkpoint(self) -> bytes:
        state = GpuState(
            [(call, code, count) for (call, code), count in self._faults.counts.items()],
            [(*key, total) for key, total in self._wrapped.items()],
            [(uuid, xid, count) for (uuid, xid), count in self._xids.items()],
            *self._processes.checkpoint(),
            self._maxima.save(),
        )
        return msgspec.msgpack.encode(state)

    def restore(self, state: bytes) -> None:
        saved = decode_gpu_state(state)
        self._faults.counts.update({(call, code): count for call, code, count in saved.faults})
        self._wrapped.update({(uuid, name, label): total for uuid, name, label, total in saved.wrapped})
        self._xids.update({(uuid, xid): count for uuid, xid, count in saved.xids})
        self._processes.restore(saved.tree_seconds, saved.tree_peaks)
        self._maxima.restore(saved.maxima)

    def close(self) -> None:
        for feed in self._feeds.values():
            feed.close()


def _labels(info: GpuInfo) -> tuple[str, ...]:
    return info.uuid, info.index, info.vendor, info.name, info.pci_bus_id, info.driver_version
