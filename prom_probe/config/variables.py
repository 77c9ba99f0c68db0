"""The PROM_PROBE_ variables of the environment: which of them mean nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from prom_probe.config.settings import FLAGS

PREFIX = "PROM_PROBE_"
CONFIG_FILE = f"{PREFIX}CONFIG_FILE"
URL = f"{PREFIX}URL"

# Kubernetes sets NAME_PORT_… and others in every container of a namespace that has a Service with that name.
_SERVICE = "_SERVICE_HOST"


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """A line for each variable with our prefix that is no setting's, with the name that may have been meant."""
    known = [CONFIG_FILE, URL, *(option.variable for option in FLAGS)]
    services = tuple(_service_prefixes(environ))
    unknown = [
        name
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known and not name.startswith(services)
    ]
    if not unknown:
        return []
    from difflib import get_close_matches

    words = [name.removeprefix(PREFIX) for name in known]
    near = {name: get_close_matches(name.removeprefix(PREFIX), words, n=1, cutoff=0.75) for name in unknown}
    return [
        f"unknown variable {name}" + "".join(f": did you mean {PREFIX}{word}?" for word in words)
        for name, words in near.items()
    ]


def _service_prefixes(environ: Mapping[str, str]) -> Iterator[str]:
    for name in environ:
        if name.startswith(PREFIX) and name.endswith(_SERVICE):
            service = name.removesuffix(_SERVICE)
            yield from (f"{service}_SERVICE_", f"{service}_PORT")
