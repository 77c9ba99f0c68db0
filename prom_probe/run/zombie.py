"""What a child that has ended has used, before it is reaped: waitid(2) as the kernel has it, with its rusage."""

from __future__ import annotations

import platform
import struct
import sys

# The system call's number; the C library's waitid() does not pass the rusage on.
_WAITID = {"x86_64": 247, "aarch64": 95}
_P_PID, _WNOHANG, _WEXITED, _WNOWAIT = 1, 1, 4, 0x01000000
_RUSAGE = struct.Struct("16q")  # user and system time in two each, then ru_maxrss
_MAXRSS = 4


def read_maxrss(pid: int) -> int:
    """`ru_maxrss` of an ended child that is not reaped yet, KiB, its own reaped children included; 0 for not known."""
    number = _WAITID.get(platform.machine()) if sys.platform == "linux" and sys.maxsize > 1 << 32 else None
    if number is None:
        return 0
    import ctypes

    info, usage = ctypes.create_string_buffer(128), ctypes.create_string_buffer(_RUSAGE.size + 64)
    call = ctypes.CDLL(None, use_errno=True).syscall
    if call(number, _P_PID, pid, info, _WEXITED | _WNOHANG | _WNOWAIT, usage) != 0:
        return 0
    return int(_RUSAGE.unpack_from(usage)[_MAXRSS])
