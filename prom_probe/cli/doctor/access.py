"""How the doctor opens files: an object that is handed in, so that a test can have the kernel deny some."""

from __future__ import annotations

import os

from prom_probe.sources.descriptors import Descriptors, read_once
from prom_probe.sources.process_files import ProcessFiles, fd_size_counts


class Access:
    """The real files. All methods but `may` raise OSError."""

    def read(self, path: str) -> bytes:
        """The whole file."""
        return read_once(path)

    def list(self, path: str) -> list[str]:
        """The names in a directory."""
        return os.listdir(path)

    def stat(self, path: str) -> os.stat_result:
        return os.stat(path)

    def may(self, path: str, mode: int) -> bool:
        """Whether we may use the file in this way (os.R_OK, …)."""
        return os.access(path, mode)

    def try_process_file(self, procfs: str, pid: int, name: str) -> None:
        """Open a file of a process as a collector does."""
        if name == "smaps_rollup":
            # Reading would stop the process while its memory is walked; opening needs the same permission.
            os.close(os.open(f"{procfs}/{pid}/{name}", os.O_RDONLY))
        elif name == "fd":
            files = ProcessFiles(procfs, pid, Descriptors(), fd_size=fd_size_counts(procfs))
            try:
                files.open_fds()
            finally:
                files.close()
        else:
            self.read(f"{procfs}/{pid}/{name}")


ACCESS = Access()
