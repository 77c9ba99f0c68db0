"""Tests of deploy/: manifests, alerts, image."""
