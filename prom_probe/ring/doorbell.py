"""A descriptor that wakes another process: an eventfd, a pipe where the platform has none."""

import os


class Doorbell:
    """Rung by any process that inherited it; `fd` becomes readable until `clear`. Never blocks, never fills up."""

    __slots__ = ("_write_fd", "fd")

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self.fd = self._write_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self.fd, self._write_fd = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._write_fd, False)

    def ring(self) -> None:
        """Wake whoever waits on `fd`. Always written, never flagged away: a "sleeps" flag loses wake-ups."""
        try:
            os.write(self._write_fd, b"\1\0\0\0\0\0\0\0")
        except BlockingIOError:
            pass  # it is rung already

    def clear(self) -> None:
        """Make `fd` quiet; clear *before* looking at what was announced."""
        try:
            while len(os.read(self.fd, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        for fd in {self.fd, self._write_fd}:
            os.close(fd)
