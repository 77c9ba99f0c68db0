"""`prom-probe storage`: the files of a stored run."""
