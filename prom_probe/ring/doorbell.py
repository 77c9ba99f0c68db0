"""A descriptor that wakes another process: an eventfd, or a pipe on platforms without one."""

import os


class Doorbell:
    """Any process that inherited it may ring; `fd` is readable until `clear`. Ringing never blocks."""

    __slots__ = ("_write_fd", "fd")

    def __init__(self, *, eventfd: bool = hasattr(os, "eventfd")) -> None:
        if eventfd:
            self.fd = self._write_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self.fd, self._write_fd = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._write_fd, False)

    def ring(self) -> None:
        """Wake the process that waits on `fd`. Always writes: skipping it while nobody sleeps would lose wake-ups."""
        try:
            os.write(self._write_fd, b"\1\0\0\0\0\0\0\0")
        except BlockingIOError:
            pass  # it has been rung already

    def clear(self) -> None:
        """Make `fd` unreadable; call this *before* looking for what it announced."""
        try:
            while len(os.read(self.fd, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        for fd in {self.fd, self._write_fd}:
            os.close(fd)
