"""PromQL: a guarded parser, a vectorised engine over `[series, steps]` arrays, one table of functions."""
