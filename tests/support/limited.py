"""`python -m tests.support.limited BYTES COMMAND…`: runs COMMAND in a cgroup whose memory has a limit."""

from __future__ import annotations

import subprocess
import sys

from tests.support.cgroups import enter, memory_cgroup


def main() -> int:
    """The exit status of COMMAND."""
    with memory_cgroup(int(sys.argv[1])) as path:
        return subprocess.run(sys.argv[2:], preexec_fn=lambda: enter(path)).returncode


if __name__ == "__main__":
    sys.exit(main())
