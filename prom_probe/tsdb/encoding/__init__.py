"""Encodings: a column of float64s as an entry and a stream, bit for bit (docs/storage.md has the drawing)."""
