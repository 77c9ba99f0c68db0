"""`prom-probe run`: the supervisor, COMMAND, the table of probes, shared memory, the checks before the start."""
