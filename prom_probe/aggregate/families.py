"""The metrics that the aggregator measures: collections, rings, the store, settings."""

from prom_probe.model.definition import Definition, define

_COLLECTIONS = "the frames of the probe workers"
_RINGS = "the header of the ring"
_STORE = "the store"

# fmt: off
COLLECTOR_RUNS = define("prom_probe_collector_runs_total", "counter", "", "Collections that reached the aggregator.",
    labels="collector", source=_COLLECTIONS,
    definition="Count of batches decoded, whether or not the store could take them.", platforms="all")
COLLECTOR_SUCCESS = define("prom_probe_collector_success", "gauge", "", "Whether the newest collection succeeded.",
    labels="collector", source=_COLLECTIONS,
    definition="1 if the newest beat brought samples; 0 after an error, and after three missed beats.", platforms="all")
COLLECTOR_DURATION = define("prom_probe_collector_duration_seconds", "gauge", "seconds",
    "Time that the newest collection took.", labels="collector", source="the monotonic clock",
    definition="From the begin to the end of `collect`, encoding left out.", platforms="all")
COLLECTOR_OVERRUNS = define("prom_probe_collector_overruns_total", "counter", "",
    "Beats skipped because a collection took too long.", labels="collector", source=_COLLECTIONS,
    definition="Count of beats that a worker skipped because it was still at an earlier one. Absent from /metrics "
    "until there is one.",
    platforms="all", essential=True)
BEAT_DELAY = define("prom_probe_worker_beat_delay_seconds", "histogram", "seconds", "How late the worker began a beat.",
    labels="worker", source="the monotonic clock, read in the worker",
    definition="From when a beat was due until it began, one a beat.", platforms="all")
RING_FRAMES = define("prom_probe_ring_frames_total", "counter", "", "Frames pushed into the ring.", labels="ring",
    source=_RINGS, definition="Count of frames since the ring was made.", platforms="all")
RING_DROPPED_FRAMES = define("prom_probe_ring_dropped_frames_total", "counter", "",
    "Frames refused because the ring was full.", labels="ring", source=_RINGS,
    definition="Count of frames that found the ring full: their samples are lost.", platforms="all", essential=True)
RING_CORRUPT_FRAMES = define("prom_probe_ring_corrupt_frames_total", "counter", "",
    "Frames skipped because they were damaged.", labels="ring", source=_RINGS,
    definition="Count of frames with a wrong CRC, or that could not be decoded.", platforms="all")
RING_USED = define("prom_probe_ring_used_bytes", "gauge", "bytes", "Bytes waiting in the ring.", labels="ring",
    source=_RINGS, definition="Bytes pushed and not yet popped.", platforms="all")
INGEST_LATENCY = define("prom_probe_ingest_latency_seconds", "histogram", "seconds",
    "Time from collection done to samples stored.",
    source="the monotonic clock, read in the worker and in the aggregator",
    definition="From the end of `collect` until the row is in the store, one observation a batch.", platforms="all")
TSDB_SERIES = define("prom_probe_tsdb_series", "gauge", "", "Series in the store.", source=_STORE,
    definition="Count of series with samples.", platforms="all", essential=True)
TSDB_SAMPLES = define("prom_probe_tsdb_samples", "gauge", "", "Samples in the store.", source=_STORE,
    definition="Count of samples that are not yet dropped.", platforms="all")
TSDB_STORAGE = define("prom_probe_tsdb_storage_bytes", "gauge", "bytes",
    "Bytes that the store's samples and index take.", source=_STORE,
    definition="What --storage.tsdb.retention.size bounds: samples, columns and index; the decode cache left out.",
    platforms="all", essential=True)
TSDB_APPENDED_SAMPLES = define("prom_probe_tsdb_appended_samples_total", "counter", "", "Samples taken into the store.",
    source=_STORE, definition="Count of samples stored.", platforms="all")
TSDB_DROPPED_SAMPLES = define("prom_probe_tsdb_dropped_samples_total", "counter", "",
    "Samples that retention has dropped.", source=_STORE,
    definition="Count of samples dropped by time, size or series limit.", platforms="all")
TSDB_SEALED_BLOCKS = define("prom_probe_tsdb_sealed_blocks_total", "counter", "", "Blocks made of heads.",
    source=_STORE, definition="Count of runs of rows that became blocks.", platforms="all")
TSDB_MERGED_BLOCKS = define("prom_probe_tsdb_merged_blocks_total", "counter", "", "Blocks made of smaller blocks.",
    source=_STORE, definition="Count of blocks that merging has made.", platforms="all")
TSDB_REJECTED_SAMPLES = define("prom_probe_tsdb_rejected_samples_total", "counter", "",
    "Samples refused by the store, by reason.", labels="reason", source=_STORE,
    definition="Count of samples that could not be stored: `duplicate`, `conflict`, `out_of_order`, `too_old`, "
    "`unknown_layout`, `malformed`, `series_limit`, `unannounced`, `too_far_ahead`.", platforms="all", essential=True)
TSDB_PERSISTENT = define("prom_probe_tsdb_persistent", "gauge", "", "Whether what is appended now goes to the disk.",
    source=_STORE, definition="1 while samples go to --storage.tsdb.path; 0 after an error, while the path leads to "
    "another directory or to none, and if it could not be used at the start; absent without the flag.",
    platforms="all", essential=True)
TSDB_DISK_ERRORS = define("prom_probe_tsdb_disk_errors_total", "counter", "", "Writes to the disk that failed.",
    source=_STORE, definition="Count of failed writes; absent without --storage.tsdb.path.",
    platforms="all", essential=True)
TSDB_DAMAGED = define("prom_probe_tsdb_damaged_total", "counter", "",
    "Damage found in the stored files at the start.", source=_STORE,
    definition="Count of files set aside, of damaged parts of the log, and of records of no use without those. An "
    "incomplete write at the end of the log, as a crash leaves it, is not counted; absent without --storage.tsdb.path, "
    "and from /metrics until there is one.",
    platforms="all", essential=True)
TSDB_WAL = define("prom_probe_tsdb_wal_bytes", "gauge", "bytes", "Bytes of the write-ahead log.", source=_STORE,
    definition="Sizes of the log's segments; absent without --storage.tsdb.path.", platforms="all")
TSDB_BLOCK_FILES = define("prom_probe_tsdb_block_file_bytes", "gauge", "bytes", "Bytes of the block files.",
    source=_STORE, definition="Sizes of the block files; absent without --storage.tsdb.path.", platforms="all")
TSDB_MAPPED = define("prom_probe_tsdb_mapped_bytes", "gauge", "bytes", "The part of the storage bytes in mapped files.",
    source=_STORE,
    definition="Bytes of blocks that the kernel may drop and read again; absent without --storage.tsdb.path.",
    platforms="all")
HISTORY_RECORDS = define("prom_probe_history_records", "gauge", "", "Processes that ended, and events, that are kept.",
    labels="kind", source="the aggregator",
    definition='Count of records: kind="process" those of processes that have ended, kind="event" events other than '
    "starts and ends of processes. They go with the oldest sample.", platforms="all")
HISTORY_DROPPED = define("prom_probe_history_dropped_records_total", "counter", "",
    "Such records dropped because there were too many.", labels="kind", source="the aggregator",
    definition="Count of records beyond 5,000 of a kind: the oldest goes first.", platforms="all")
BUILD_INFO = define("prom_probe_build_info", "gauge", "", "Constant 1, labelled by version and Python's version.",
    labels="version python_version", source="the package", definition="Always 1.", platforms="all", essential=True)
RELOAD_SUCCESSFUL = define("prom_probe_config_last_reload_successful", "gauge", "",
    "Whether the newest reading of the settings succeeded.", source="the supervisor",
    definition="1 at the start and after a reload that succeeded, 0 after one that was refused.",
    platforms="all", essential=True)
RELOAD_TIME = define("prom_probe_config_last_reload_success_timestamp_seconds", "gauge", "seconds",
    "When settings were last read successfully.", source="the wall clock", definition="Seconds since 1970.",
    platforms="all")
UPTIME = define("prom_probe_uptime_seconds", "gauge", "seconds", "Time since prom_probe was started.",
    source="the monotonic clock", definition="Since the supervisor's start.", platforms="all")
UNREADABLE = define("prom_probe_sources_unreadable", "gauge", "",
    "Sources that could not be read at the last collection.", source="the newest collections",
    definition="Count of the sources for which `prom_probe_source_readable` is 0.", platforms="all", essential=True)
LOG_DROPPED = define("prom_probe_log_dropped_lines_total", "counter", "", "Log lines that could not be written.",
    source="the log of each process",
    definition="Count of lines dropped because whoever reads stderr was behind or gone, or the disk full. Absent from "
    "/metrics until there is one.",
    platforms="all", essential=True)
SUPERVISOR_ERRORS = define("prom_probe_supervisor_errors_total", "counter", "",
    "What the supervisor asked of the operating system in vain, and tries again.", labels="call",
    source="the supervisor", definition="Count of failures by what it was about: `fork`, `kill`, `wait`, `poll`, "
    "`open`, `write`, `reload`, `collect`.", platforms="all")

DEFINITIONS: tuple[Definition, ...] = (
    COLLECTOR_RUNS,
    COLLECTOR_SUCCESS,
    COLLECTOR_DURATION,
    COLLECTOR_OVERRUNS,
    BEAT_DELAY,
    RING_FRAMES,
    RING_DROPPED_FRAMES,
    RING_CORRUPT_FRAMES,
    RING_USED,
    INGEST_LATENCY,
    TSDB_SERIES,
    TSDB_SAMPLES,
    TSDB_STORAGE,
    TSDB_APPENDED_SAMPLES,
    TSDB_DROPPED_SAMPLES,
    TSDB_SEALED_BLOCKS,
    TSDB_MERGED_BLOCKS,
    TSDB_REJECTED_SAMPLES,
    TSDB_PERSISTENT,
    TSDB_DISK_ERRORS,
    TSDB_DAMAGED,
    TSDB_WAL,
    TSDB_BLOCK_FILES,
    TSDB_MAPPED,
    HISTORY_RECORDS,
    HISTORY_DROPPED,
    BUILD_INFO,
    RELOAD_SUCCESSFUL,
    RELOAD_TIME,
    UPTIME,
    UNREADABLE,
    LOG_DROPPED,
    SUPERVISOR_ERRORS,
)
