"""`prom-probe doctor`: what can be read here, what not, why, and what to change."""
