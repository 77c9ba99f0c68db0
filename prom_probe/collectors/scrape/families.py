"""The metrics of scraping: those that Prometheus adds to each target's own, and our own."""

from prom_probe.model.definition import Definition, define


def _report(name: str, help: str, definition: str, unit: str = "") -> Definition:
    return define(
        name,
        "gauge",
        unit,
        help,
        labels="job instance",
        source="the scrape worker",
        definition=definition,
        platforms="all",
    )


# fmt: off
# Prometheus adds these to each target. They are local: on /metrics they would be mistaken for our own scraper's.
REPORT = (
    _report("up", "Whether the newest scrape of the target succeeded.",
        "1 if the whole page came and could be read, else 0."),
    _report("scrape_duration_seconds", "Time that the newest scrape took.",
        "From the request, or the connection where none was kept, until the page was read.", "seconds"),
    _report("scrape_samples_scraped", "Samples that the target's page had.",
        "Count of the page's lines that are samples; of a page that cannot be read, of those before the mistake."),
    _report("scrape_samples_post_metric_relabeling", "Samples that were left after metric relabelling.",
        "Count of the samples that `metric_relabel_configs` does not drop."),
    _report("scrape_series_added", "Series that the previous page did not have.",
        "Count of series that are new since the last page, whether or not they have been there earlier."),
)

REASONS = ("connect", "tls", "credentials", "timeout", "http", "size", "parse", "samples", "labels")

FAILURES = define("prom_probe_target_scrape_failures_total", "counter", "", "Scrapes that gave no samples, by reason.",
    labels="target reason", source="the scrape worker",
    definition="Scrapes since the worker began that failed as a whole: no connection, a "
    "certificate that is not trusted, a file of a secret that cannot be read, no whole page in time, an HTTP error, a "
    "body that is too big, a page that is no exposition, or one with too many samples or labels.",
    platforms="all")
UNEXPOSED = define("prom_probe_target_unexposed_series", "gauge", "",
    "Series that --scrape.expose has chosen and that /metrics does not show in every format.", labels="target",
    source="the scrape worker",
    definition="Series that --scrape.expose matches and whose name begins as our own metrics do, or belongs to another "
    "family, in the text format, in OpenMetrics or where UTF-8 names are escaped; those with labels that begin with "
    "`__`; parts of histograms and summaries that have no valid `le` or `quantile`; an `x_created` beside metrics "
    "`x` of which none has its labels.", platforms="all")

DEFINITIONS: tuple[Definition, ...] = (FAILURES, UNEXPOSED)
