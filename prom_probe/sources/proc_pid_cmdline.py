"""/proc/PID/cmdline: a process's arguments (proc_pid_cmdline(5))."""

from prom_probe.sources.patience import read_patiently


def read_proc_pid_cmdline(procfs: str, pid: int) -> bytes:
    """Raises FileNotFoundError or ProcessLookupError where the process is gone, TimeoutError where it hangs."""
    return read_patiently(f"{procfs}/{pid}/cmdline")


def parse_proc_pid_cmdline(data: bytes) -> list[str]:
    """The arguments; none for a kernel thread or a zombie. Bytes that are not UTF-8 become \\xNN."""
    if not data:
        return []
    return data.rstrip(b"\0").decode("utf-8", "backslashreplace").split("\0")
