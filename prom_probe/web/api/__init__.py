"""Prometheus's query API."""
