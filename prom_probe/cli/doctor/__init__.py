"""`prom-probe doctor`: what can be read and served here, what cannot, why, and what to change."""
