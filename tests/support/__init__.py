"""What tests and benchmarks share: peers, sidecars, machines of plain files, harnesses, data sets."""
