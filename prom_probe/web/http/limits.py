"""What a client may make the server hold, and for how long."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HttpLimits:
    """The bounds of one listener; the defaults are the design's."""

    header_s: float = 5.0  # from the first byte of a connection or request to the end of its header
    body_s: float = 10.0  # from the end of the header to the end of the body
    idle_s: float = 75.0  # between two requests
    stall_s: float = 10.0  # in which a client must read `stall_bytes` of an answer
    stall_bytes: int = 64 * 1024
    answer_s: float = 300.0  # in which a client must have read a whole streamed answer
    linger_s: float = 2.0  # in which a refused client may go on sending, so that it gets to read why
    uri_bytes: int = 8 * 1024
    header_bytes: int = 16 * 1024  # the request line and all header fields
    header_fields: int = 100
    body_bytes: int = 1024 * 1024
    small_body_bytes: int = 8 * 1024  # a body up to this size is always accepted
    bodies_bytes: int = 2 * 1024 * 1024  # of larger bodies that are incomplete, all connections of a listener together
    large_body_bytes: int = 16 * 1024 * 1024  # for routes that accept large bodies
    large_bodies: int = 4  # connections that hold a body of more than `body_bytes` at the same time
    connections: int = 256  # per listener
