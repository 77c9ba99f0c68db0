"""The tests: unit, PromQL scripts, fixtures of kernel files, end to end."""

import os
import sys

# What is installed has its bytecode: without it every process that a test or a benchmark starts would compile itself
# first, and be 3 MB larger for it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
