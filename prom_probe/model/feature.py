"""The features of PromQL that `--enable-feature` turns on, by Prometheus's names."""

from enum import StrEnum


class Feature(StrEnum):
    """What Prometheus's newest release has off by default; `ON_BY_DEFAULT` is what it has made the default since."""

    DELAYED_NAME_REMOVAL = "promql-delayed-name-removal"
    EXPERIMENTAL_FUNCTIONS = "promql-experimental-functions"
    EXTENDED_RANGE_SELECTORS = "promql-extended-range-selectors"
    BINOP_FILL_MODIFIERS = "promql-binop-fill-modifiers"
    PER_STEP_STATS = "promql-per-step-stats"
    DURATION_EXPRESSIONS = "promql-duration-expr"


ON_BY_DEFAULT = frozenset({Feature.DURATION_EXPRESSIONS})
