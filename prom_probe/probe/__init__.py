"""A probe worker: the loop that collects, encodes and pushes; the scrape worker."""
