"""prom_probe: samples a program every second beside it, serves Prometheus and keeps the detail queryable."""

__version__ = "0.1.0"
