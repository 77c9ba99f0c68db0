"""`prom-probe report`: a run as one file that opens anywhere."""
