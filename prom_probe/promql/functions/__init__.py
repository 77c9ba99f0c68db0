"""The table of PromQL's functions, from the families in the other files."""

from prom_probe.promql.functions.base import Function
from prom_probe.promql.functions.dates import DATES
from prom_probe.promql.functions.histogram import HISTOGRAM
from prom_probe.promql.functions.info import INFO
from prom_probe.promql.functions.labels import LABELS
from prom_probe.promql.functions.math import MATH
from prom_probe.promql.functions.over_time import OVER_TIME
from prom_probe.promql.functions.rate import RATE
from prom_probe.promql.functions.scalars import SCALARS

FUNCTIONS: dict[str, Function] = {**RATE, **OVER_TIME, **MATH, **DATES, **SCALARS, **LABELS, **HISTOGRAM, **INFO}

# Functions whose values vary from step to step even if their arguments do not.
VARYING = frozenset({*DATES, "time", "timestamp", "predict_linear"})
