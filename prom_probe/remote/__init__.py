"""Remote write, both ways: the receiver, the sender with its part in the aggregator, and the message as bytes."""
