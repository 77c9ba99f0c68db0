"""HTTP/1.1: connections, limits, TLS, users."""
