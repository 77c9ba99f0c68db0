"""What a report has inside: the run, its processes and events, and its samples."""

from __future__ import annotations

import msgspec

from prom_probe.cli.error import ClientError
from prom_probe.cli.report.packing import pack
from prom_probe.cli.report.samples import read_samples
from prom_probe.cli.source import Source


def pack_report(source: Source) -> bytes:
    """All that the source has. Raises ClientError if that is no sample."""
    span = source.stored_span()
    if span is None:
        raise ClientError("nothing is stored: there are no samples to report")
    run = source.run()
    about: dict[str, object] = {
        "run": msgspec.structs.asdict(run),
        "span": span,
        "processes": [msgspec.structs.asdict(process) for process in source.processes()],
        "events": [msgspec.structs.asdict(event) for event in source.events()],
    }
    return pack(about, read_samples(source, run.trees, *span))
