"""`prom-probe top`: the processes of a tree in the terminal, live or at any moment of the past."""
