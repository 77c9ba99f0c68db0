"""Our own processes."""
