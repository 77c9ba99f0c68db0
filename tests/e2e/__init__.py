"""Tests of the whole program, with real processes and real peers."""
