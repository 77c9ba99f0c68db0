"""What a client may make the server hold, and for how long."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HttpLimits:
    """The bounds of one listener; the defaults are the design's."""

    header_s: float = 5.0  # from a connection or a request's first byte to the end of its header
    body_s: float = 10.0  # from the end of the header to the end of the body
    idle_s: float = 75.0  # between two requests
    stall_s: float = 10.0  # in which a reader must take `stall_bytes` of an answer
    stall_bytes: int = 64 * 1024
    answer_s: float = 300.0  # in which a reader must have taken a whole streamed answer
    linger_s: float = 2.0  # in which a refused client may still send, so that it reads why
    uri_bytes: int = 8 * 1024
    header_bytes: int = 16 * 1024  # the request line and all header fields
    header_fields: int = 100
    body_bytes: int = 1024 * 1024
    small_body_bytes: int = 8 * 1024  # what is always taken, as far as `connections` goes
    bodies_bytes: int = 2 * 1024 * 1024  # of larger bodies that are not whole yet, in a listener's connections together
    large_body_bytes: int = 16 * 1024 * 1024  # for routes that take more
    large_bodies: int = 4  # connections that hold a body of more than `body_bytes` at a time
    connections: int = 256  # per listener
