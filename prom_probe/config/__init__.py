"""The settings: one table that flags, environment and YAML fill, and the page of docs that is written from it."""
