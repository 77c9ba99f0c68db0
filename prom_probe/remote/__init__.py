"""Remote write: the receiver, and the message as bytes."""
