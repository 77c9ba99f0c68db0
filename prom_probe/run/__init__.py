"""`prom-probe run`: the supervisor, COMMAND, the table of probes, shared memory, preflight checks, the summary."""
