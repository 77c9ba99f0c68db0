"""What a client may make the server hold, and for how long."""

import os
import resource
from dataclasses import dataclass, replace

# Descriptors that stay free for what is not a connection: files of the store, pipes, a reload.
_RESERVED = 8


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
    burst: int = 32  # connections accepted at once, before those that are open get their turn

    def fitted(self, listeners: int, free: int) -> "HttpLimits":
        """The same for a process that may open `free` more descriptors, shared by as many listeners."""
        share = max(0, free - _RESERVED) // max(1, listeners)
        return replace(self, connections=max(1, min(self.connections, share)))


def free_descriptors() -> int:
    """How many descriptors this process may still open."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        return int(most - len(os.listdir("/dev/fd")) + 1)  # the listing's own
    except OSError:
        return 0
