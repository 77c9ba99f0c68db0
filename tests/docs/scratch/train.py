"""Stands for a reader's program: some memory, a little CPU, a few children, until there is a file `enough`."""

import os
import subprocess
import sys
import time

print("epoch 1", flush=True)
held = bytearray(60 << 20)
while not os.path.exists("enough"):
    children = [subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(0.6)"]) for _ in range(2)]
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        sum(range(1000))
    for child in children:
        child.wait()
