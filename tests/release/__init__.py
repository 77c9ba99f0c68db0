"""Tests of what is published: packages, workflows, versions."""
