"""The served face: an HTTP server on asyncio, `/metrics`, Prometheus's query API, health and a landing page."""
