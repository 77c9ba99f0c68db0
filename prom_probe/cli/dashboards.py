"""The dashboards that come with the package (`grafana/` has their code): copies them where Grafana finds them."""

from __future__ import annotations

import os
import shutil

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# In a wheel they lie in the package, in a checkout beside it.
_PLACES = (os.path.join(_PACKAGE, "_dashboards"), os.path.join(os.path.dirname(_PACKAGE), "grafana", "dashboards"))


def export(folder: str) -> list[str]:
    """Copy the dashboards into `folder`, which is made where it is missing; gives the files. Raises OSError."""
    source = next((place for place in _PLACES if os.path.isdir(place)), None)
    if source is None:
        raise FileNotFoundError(f"this installation has no dashboards: {_PLACES[0]} is missing")
    os.makedirs(folder, exist_ok=True)
    names = sorted(name for name in os.listdir(source) if name.endswith(".json"))
    return [shutil.copyfile(os.path.join(source, name), os.path.join(folder, name)) for name in names]
