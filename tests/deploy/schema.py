"""Writes the names of settings and alerts into the chart's values.schema.json: `python -m tests.deploy.schema`."""

from __future__ import annotations

import json
import re

from prom_probe.config.settings import FLAGS
from prom_probe.config.variables import CONFIG_FILE
from tests.deploy.tools import ALERTS, CHART

FILE = CHART / "values.schema.json"


def written() -> str:
    """The file with its two lists of names as they should be; all else as it is."""
    names = {
        "propertyNames": sorted([CONFIG_FILE, *(option.variable for option in FLAGS)]),
        "items": list(ALERTS),
    }
    text = FILE.read_text()
    for key, listed in names.items():
        lines = ",\n".join(f"{' ' * 14}{json.dumps(name)}" for name in listed)
        text = re.sub(rf'("{key}": {{\s+"enum": \[\n)[^\]]*?(\n +\])', rf"\g<1>{lines}\g<2>", text)
    return text


if __name__ == "__main__":
    FILE.write_text(written())
