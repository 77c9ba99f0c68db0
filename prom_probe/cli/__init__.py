"""The command line: one file for each command, and what only people read."""
