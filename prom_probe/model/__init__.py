"""The words that every room of the house speaks: labels, families, columns, samples, matchers."""
