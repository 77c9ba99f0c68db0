"""Benchmarks: figures beside a peer in the same run, never asserted."""
