"""From a point of a graph to the tree's dashboard, and to the sidecar's own page at that moment."""

from __future__ import annotations

from typing import NamedTuple


class Link(NamedTuple):
    """A data link: Grafana fills in the series' labels and the point's time."""

    title: str
    url: str
    new_tab: bool = False


_TREE = "${__field.labels.tree:percentencode}"
_INSTANCE = "${__field.labels.instance:percentencode}"

TO_TREE = Link(
    "The tree's dashboard",
    "/d/prom-probe-process-tree?${datasource:queryparam}&${job:queryparam}"
    f"&var-instance={_INSTANCE}&var-tree={_TREE}&var-page=${{page:percentencode}}&${{__url_time_range}}",
)
# The address as prom_probe/web/page/static/url.js reads it. The range and the moment are Unix seconds.
TO_PAGE = Link(
    "The sidecar's page at this moment",
    f"${{page}}/#tree={_TREE}&from=${{__from:date:seconds}}&to=${{__to:date:seconds}}&at=${{__value.time:date:seconds}}",
    new_tab=True,
)
# Where the page is, for whoever clicks: as with `kubectl port-forward`, or on the same machine.
PAGE = ("page", "Sidecar's page", "http://localhost:19991")
