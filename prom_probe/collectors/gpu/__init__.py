"""GPUs of every vendor, and what the watched trees use of them."""
