"""What stands in each receiver after a trial with outages, beside the store: the samples, and what queries answer."""

from __future__ import annotations

import json
import math
import struct
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prom_probe.model.labels import Labels, label_value
from prom_probe.model.sample import STALE_BYTES
from prom_probe.tsdb.store import Store
from tests.support.outage_trial import Receiver, Trial
from tests.support.peers import VictoriaMetrics
from tests.support.prometheus import matrix
from tests.support.sidecar import Sidecar
from tests.support.tsdb_tools import ALWAYS, samples_of
from tests.support.waiting import DEADLINE_S

Found = dict[Labels, list[tuple[int, bytes]]]

# What an aggregator that is killed may not yet have written to the disk, in intervals.
UNWRITTEN = 5


class Verdict(NamedTuple):
    """How a receiver's samples differ from the store's."""

    receiver: str
    stored: int
    missing: int
    other_value: int
    twice: int  # of those that the sender was told were stored
    not_in_store: int  # such as no aggregator that was killed had in its hands
    examples: Sequence[str] = ()

    @property
    def good(self) -> bool:
        return not (self.missing or self.other_value or self.twice or self.not_in_store)


# -- the samples


def stored(path: Path) -> Found:
    """The samples in the directory of a run that has ended."""
    return samples_of(Store.open_read_only(str(path)).snapshot(), *ALWAYS)


def own(samples: Mapping[Labels, Iterable[tuple[int, bytes]]]) -> Found:
    """Series without what the sender has added, and without markers."""
    found: Found = {}
    for labels, some in samples.items():
        kept = [one for one in some if one[1] != STALE_BYTES]
        if kept:
            found[tuple(pair for pair in labels if pair[0] not in ("job", "instance"))] = kept
    return found


def held(one: Receiver, trial: Trial) -> Found:
    """What a receiver has; of ours what it said it has, and of the rest what it has not said."""
    if one.peer is None:
        found: Found = {}
        for done in (True, False):
            for request in one.front.requests:
                if request.done is done:
                    for labels, samples in own(dict(request.content.series)).items():
                        kept = found.setdefault(labels, [])
                        known = set() if done else set(kept)
                        kept += [sample for sample in samples if sample not in known]
        return found
    if isinstance(one.peer, VictoriaMetrics):
        one.peer.renew()
        one.peer.get("/internal/force_flush")  # else the newest are not seen yet
    window = round(time.time() - trial.began_s) + 60
    answer = matrix(one.peer.url, f'{{__name__=~".+"}}[{window}s]', time.time())
    packed = {labels: [(round(t_s * 1000), _bits(float(v))) for t_s, v in some] for labels, some in answer.items()}
    return own(packed)


def same(one: Receiver, ours: bytes, theirs: bytes) -> bool:
    """To the bit; to the digits that it keeps, if it is VictoriaMetrics."""
    return ours == theirs or (
        isinstance(one.peer, VictoriaMetrics) and math.isclose(_value(ours), _value(theirs), rel_tol=1e-11)
    )


def numbers(samples: Found) -> Found:
    """All but NaN."""
    return {labels: [s for s in some if not math.isnan(_value(s[1]))] for labels, some in samples.items()}


def compare(one: Receiver, trial: Trial, expected: Found) -> Verdict:
    """A receiver's samples beside the store's. A sender that is killed may repeat a request that it had confirmed."""
    found = held(one, trial)
    if isinstance(one.peer, VictoriaMetrics):  # whose API shows a marker as any NaN
        found, expected = numbers(found), numbers(expected)
    missing = other = twice = extra = 0
    examples = []
    for labels in expected.keys() | found.keys():
        ours, theirs = expected.get(labels, []), found.get(labels, [])
        by_time, known = dict(theirs), dict(ours)
        ours = [one for one in ours if one[0] in by_time or not after_the_flush(trial, labels, one[0])]
        missing += sum(t_ms not in by_time for t_ms, _ in ours)
        unlike = [(t_ms, value, by_time.get(t_ms)) for t_ms, value in ours]
        unlike = [(t_ms, a, b) for t_ms, a, b in unlike if b is None or not same(one, a, b)]
        other += sum(there is not None for _, _, there in unlike)
        examples += [f"{dict(labels)} at {t_ms}: {_shown(a)} here, {_shown(b)} there" for t_ms, a, b in unlike]
        twice += len(theirs) - len(by_time)
        extra += sum(t_ms not in known and not unwritten(trial, t_ms) for t_ms in by_time)
    if one.peer is None:
        kills = sum(who == "remote_write" for who, _, _ in trial.kills)
        twice = max(0, twice - kills * max(request.samples for request in one.front.requests))
    return Verdict(one.name, sum(map(len, expected.values())), missing, other, twice, extra, examples[:5])


def after_the_flush(trial: Trial, labels: Labels, t_ms: int) -> bool:
    """Whether a sample may be one of those in which the aggregator tells of the flush itself."""
    return t_ms > 1000 * trial.ended_s and label_value(labels, "__name__").startswith("prom_probe_")


def unwritten(trial: Trial, t_ms: int) -> bool:
    """Whether an aggregator was killed so soon after this time that the row may never have been on the disk."""
    slack_ms = 1000 * UNWRITTEN * trial.interval_s
    return any(who == "aggregator" and -slack_ms <= t_ms - 1000 * at_s <= 1000 for who, at_s, _ in trial.kills)


def _shown(bits: bytes | None) -> str:
    return repr(_value(bits)) if bits is not None else "none"


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


def _value(bits: bytes) -> float:
    return float(struct.unpack("<d", bits)[0])


# -- what queries answer

# Over ten intervals; VictoriaMetrics means something else by rate.
EXPRESSIONS = (
    "sum by (tree) (count_over_time(proctree_process_resident_memory_bytes[{window}]))",
    "max by (tree) (max_over_time(proctree_resident_memory_max_bytes[{window}]))",
    'count by (__name__) ({{__name__=~"proctree_process_.*"}})',
)
RATES = ("sum by (tree) (rate(proctree_cpu_seconds_total[{window}]))",)
WINDOW = 10
PHASE = "proctree_processes"  # whose samples lie where those of the expressions do
STEPS = 200

Answer = dict[Labels, dict[float, float]]


def answer(url: str, expr: str, start_s: float, end_s: float, interval_s: float) -> Answer:
    """A range query's answer in about STEPS steps, which are a multiple of the interval."""
    step_s = interval_s * math.ceil((end_s - start_s) / interval_s / STEPS)
    form = urllib.parse.urlencode({"query": expr, "start": start_s, "end": end_s, "step": step_s, "nocache": 1})
    with urllib.request.urlopen(f"{url}/api/v1/query_range?{form}", timeout=DEADLINE_S) as response:
        result: list[Any] = json.load(response)["data"]["result"]
    return {
        tuple(sorted(one["metric"].items())): {round(t_s, 2): float(value) for t_s, value in one["values"]}
        for one in result
    }


def differences(trial: Trial, path: Path, expected: Found) -> list[str]:
    """Steps at which a receiver answers otherwise than we do, unless they see what a killed aggregator has lost."""
    found = []
    times = [t_ms for labels, some in expected.items() if label_value(labels, "__name__") == PHASE for t_ms, _ in some]
    # Between two samples: an older Prometheus takes one at either end of a window.
    start_s = round(min(times) / 1000 + (WINDOW + 0.5) * trial.interval_s, 2)
    end_s = trial.ended_s - 2 * trial.interval_s
    with Sidecar(flags=[f"--storage.tsdb.path={path}"], serve=True) as server:
        for one in trial.receivers:
            if one.peer is None:
                continue
            chosen = EXPRESSIONS if isinstance(one.peer, VictoriaMetrics) else EXPRESSIONS + RATES
            for text in chosen:
                expr = text.format(window=f"{round(1000 * WINDOW * trial.interval_s)}ms")
                ours, theirs = (
                    answer(url, expr, start_s, end_s, trial.interval_s) for url in (server.api, one.peer.url)
                )
                assert ours, expr
                found += [f"{one.name}: {expr}: {line}" for line in _unlike(trial, ours, theirs)]
    return found


def _unlike(trial: Trial, ours: Answer, theirs: Answer) -> Iterator[str]:
    compared = 0
    for labels in ours.keys() | theirs.keys():
        one, other = ours.get(labels, {}), theirs.get(labels, {})
        for t_s in one.keys() | other.keys():
            if _sees_unwritten(trial, t_s):
                continue
            compared += 1
            if t_s not in one or t_s not in other or not math.isclose(one[t_s], other[t_s], rel_tol=1e-9):
                yield f"{dict(labels)} at {t_s}: {one.get(t_s)} here, {other.get(t_s)} there"
    if not compared:
        yield "no step was compared"


def _sees_unwritten(trial: Trial, t_s: float) -> bool:
    before_s, after_s = UNWRITTEN * trial.interval_s, (WINDOW + UNWRITTEN) * trial.interval_s
    return any(who == "aggregator" and at_s - before_s <= t_s <= end_s + after_s for who, at_s, end_s in trial.kills)


def report(trial: Trial, verdicts: Sequence[Verdict], unlike: Sequence[str]) -> str:
    """All of it as text."""
    lines = [f"{trial.ended_s - trial.began_s:.0f} s at {trial.interval_s:g} s, {len(trial.outages)} outages"]
    lines += [f"  {outage}" for outage in trial.outages]
    lines += [f"  dropped: {labels} {samples:.0f}" for labels, samples in trial.dropped.items()]
    for verdict, one in zip(verdicts, trial.receivers, strict=True):
        again = sum(not request.done for request in one.front.requests)
        counts = f"{verdict.stored} stored here, {verdict.missing} missing, {verdict.other_value} with another value, "
        counts += f"{verdict.twice} twice, {verdict.not_in_store} not in the store"
        lines.append(f"{verdict.receiver}: {counts}; {len(one.front.requests)} requests stored, {again} not confirmed")
        lines += [f"  {example}" for example in verdict.examples]
    return "\n".join([*lines, f"answers that differ: {len(unlike)}", *unlike[:20]])
