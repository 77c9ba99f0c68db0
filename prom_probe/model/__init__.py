"""What all other packages share: labels, metric families, columns, samples, matchers."""
