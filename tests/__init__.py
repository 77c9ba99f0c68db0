"""The tests: unit, PromQL scripts, fixtures of kernel files, end to end."""
