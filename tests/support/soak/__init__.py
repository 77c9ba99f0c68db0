"""A soak: the real program beside all that can befall it, for minutes or hours, and a verdict at the end: `make soak`.

It scrapes and is scraped, is asked what the dashboards ask, watches processes that come and go, and has clients that
misbehave, from beginning to end. In the middle third workers are killed, settings reloaded and the disk filled; what
the last third is like is compared with the first.
"""
