"""Collectors: records of the kernel's interfaces to samples in base units, in a layout each."""
