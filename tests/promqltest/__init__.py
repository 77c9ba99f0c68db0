"""Runs scripts in Prometheus's promqltest language through our store and engine."""
