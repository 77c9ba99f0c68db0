"""What queries may use."""

from dataclasses import dataclass

from prom_probe.model.feature import Feature


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """The limits and features of an engine and of the API's queries; the flags: `--query.*`, `--enable-feature`."""

    timeout_s: float = 30.0
    max_samples: int = 20_000_000  # of one query
    max_memory_bytes: int = 64_000_000  # of all running queries together
    max_concurrency: int = 4  # queries in threads at the same time
    # For how long one in a thread has no other beside it: threads share the interpreter and the decode cache, so that
    # four at once take twice the CPU of one after the other, and none ends sooner. A long one does not keep the others.
    alone_s: float = 1.0
    lookback_delta_ms: int = 300_000
    max_points: int = 11_000  # steps of a range query
    features: frozenset[Feature] = frozenset()
