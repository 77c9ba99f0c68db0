"""Shared-memory rings: one producer, one consumer, frames of bytes, nothing ever waited for."""
