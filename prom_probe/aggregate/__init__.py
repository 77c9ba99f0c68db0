"""From rings to the store: the aggregator, our own metrics, and the process that runs both beside the server."""
