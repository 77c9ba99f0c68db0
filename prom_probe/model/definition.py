"""How a metric is declared: once, with its exact meaning, so that HELP texts, docs and tests say the same."""

from typing import NamedTuple

from prom_probe.model.family import CounterStart, Family, MetricType

SELF_PREFIX = "prom_probe_"


class Definition(NamedTuple):
    """A metric family, where it is read, and what exactly is read there. `local`: never on `/metrics`."""

    family: Family
    labels: tuple[str, ...]
    source: str
    definition: str
    platforms: str
    local: bool = False


def define(
    name: str,
    type: MetricType,
    unit: str,
    help: str,
    *,
    labels: str = "",
    source: str,
    definition: str,
    platforms: str = "Linux",
    essential: bool = False,
    since: Definition | None = None,
    local: bool = False,
) -> Definition:
    """`labels`: names separated by spaces. Of our own metrics, /metrics shows the `essential` ones by default.

    `since`: the gauge of the same collector that tells when the counter was at zero.
    """
    detail = name.startswith(SELF_PREFIX) and not essential
    names = tuple(labels.split())
    start = None
    if since is not None:
        start = CounterStart(since.family.name, tuple(label for label in names if label not in since.labels))
    return Definition(Family(name, type, help, unit, detail, start), names, source, definition, platforms, local)


READABLE = define(
    "prom_probe_source_readable",
    "gauge",
    "",
    "Whether a source could be read at the last collection: 0 where permission or the platform does not give it.",
    labels="source",
    source="the sources themselves",
    definition="1 if every reading of the source succeeded in the last collection that wanted it, else 0; series that "
    "depend on it are absent then. `prom-probe doctor` says what to change.",
    platforms="all",
)
ODD_ROWS = define(
    "prom_probe_source_odd_rows_total",
    "counter",
    "",
    "Rows of a source that were skipped because they are not as documented.",
    labels="source",
    source="the sources themselves",
    definition="Count of rows whose number is missing, negative, too large or something else, each time they "
    "are read: they cost their own series and no other. Absent until there is one; the first is logged.",
    platforms="all",
    essential=True,
)
DROPPED_DEVICES = define(
    "prom_probe_dropped_devices",
    "gauge",
    "",
    "Devices without series because there are too many of their kind.",
    labels="kind",
    source="the sources of the devices",
    definition="Count of devices beyond 64 of a kind: `network`, `disk`, `filesystem`, `temperature`, or `cgroup_io` "
    "for those of all trees' cgroups. What stands for hardware comes first. Absent until there is one.",
    platforms="all",
    essential=True,
)
