"""Kernel interfaces, one a file: `read_x` gives bytes, `parse_x` a record in raw units and touches nothing else."""
