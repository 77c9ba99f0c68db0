"""`/api/v1/features`: which of Prometheus's features there are, in its categories and by its names."""

from __future__ import annotations

from collections.abc import Iterable

from prom_probe.model.feature import Feature
from prom_probe.web.api.reply import success
from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Answer, Request

_KEYWORDS = ["bool", "by", "group_left", "group_right", "ignoring", "offset", "on", "without"]
_OPERATORS = [*"%*+-/<>@^", "!=", "!~", "<=", "==", "=~", ">=", "and", "atan2", "or", "unless"]
_AGGREGATIONS = ["avg", "bottomk", "count", "count_values", "group", "max"]
_AGGREGATIONS += ["min", "quantile", "stddev", "stdvar", "sum", "topk"]


def features(context: AppContext, request: Request) -> Answer:
    """By category, whether each feature is on."""
    on = context.limits.features

    def job(deadline: float) -> Iterable[bytes]:
        from prom_probe.promql.functions import FUNCTIONS

        experimental = Feature.EXPERIMENTAL_FUNCTIONS in on
        functions = {name: experimental or not function.experimental for name, function in sorted(FUNCTIONS.items())}
        return [success({**_fixed(context), **_language(on), "promql_functions": functions}).body]

    return context.queries.run(job, context.limits.timeout_s, inline=False)


def _language(on: frozenset[Feature]) -> dict[str, dict[str, bool]]:
    extended, fill = Feature.EXTENDED_RANGE_SELECTORS in on, Feature.BINOP_FILL_MODIFIERS in on
    return {
        "promql": {
            **dict.fromkeys(_KEYWORDS, True),
            **dict.fromkeys(("anchored", "smoothed"), extended),
            **dict.fromkeys(("fill", "fill_left", "fill_right"), fill),
            "at_modifier": True,
            "delayed_name_removal": Feature.DELAYED_NAME_REMOVAL in on,
            "duration_expr": True,
            "negative_offset": True,
            "per_query_lookback_delta": True,
            "per_step_stats": Feature.PER_STEP_STATS in on,
            "subqueries": True,
            "type_and_unit_labels": False,
            "use_start_timestamps": False,
        },
        "promql_operators": {
            **dict.fromkeys([*_OPERATORS, *_AGGREGATIONS], True),
            **dict.fromkeys(("limitk", "limit_ratio"), Feature.EXPERIMENTAL_FUNCTIONS in on),
        },
    }


def _fixed(context: AppContext) -> dict[str, dict[str, bool]]:
    """What no feature flag changes."""
    return {
        "api": {
            "admin": False,
            "exclude_alerts": False,
            "label_values_match": True,
            "lifecycle": context.about.reload is not None,
            "openapi_3.1": False,
            "openapi_3.2": False,
            "otlp_write_receiver": False,
            "query_stats": True,
            "query_warnings": True,
            "remote_write_receiver": context.receiver is not None,
            "time_range_labels": True,
            "time_range_series": True,
        },
        "prometheus": {"agent_mode": False, "auto_reload_config": False, "server_mode": True, "stringlabels": True},
        "scrape": {
            "extra_scrape_metrics": False,
            "start_timestamp_zero_ingestion": False,
            "type_and_unit_labels": False,
        },
        "tsdb": {"exemplar_storage": False, "native_histograms": False},
        "ui": {"ui_v2": False, "ui_v3": False},
    }
