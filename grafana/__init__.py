"""Dashboards as code, and their provisioning."""
