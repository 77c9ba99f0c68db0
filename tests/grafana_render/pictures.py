"""Makes docs/pictures: a run with a spike of memory and the GPUs of the demonstration, as our dashboards show it.

python -m tests.grafana_render.pictures [FOLDER]; it takes two and a half minutes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from grafana.build import FOLDER
from tests.grafana_render.render import HERE, Shot, render
from tests.support.sidecar import Sidecar

PICTURES = HERE.parent.parent / "docs" / "pictures"
RUN_S = 128
TREE = ["Processes", "Threads", "CPUs in use", "Resident memory", "Highest memory", "File limit used"]
TREE += ["CPU", "Memory", "CPU of the busiest", "Memory of the largest", "Largest processes"]
GPU = [
    "Utilisation",
    "Memory used",
    "Least headroom",
    "Power",
    "Hottest",
    "Lost GPUs",
    "Memory",
    "Temperature",
    "Fan",
]
GPU += ["Memory of each tree", "Utilisation of each tree"]
SHOTS = {"process-tree": (TREE, 1250), "gpu": (GPU, 1310)}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    there = ("env", f"--chdir={HERE}")  # so that command lines are short
    with Sidecar("--", "/usr/bin/python3", "training.py", "600", flags=["--gpu=demo"], prefix=there) as sidecar:
        time.sleep(RUN_S)
        shots = [
            Shot(
                str(FOLDER / f"{name}.json"),
                picture=str(folder / f"{name}.png"),
                width=1280,
                height=height,
                panels=panels,
            )
            for name, (panels, height) in SHOTS.items()
        ]
        for page in render(sidecar.api, shots, since="now-2m"):
            for trouble in page.complaints:
                print(trouble, file=sys.stderr)
    for file in sorted(folder.glob("*.png")):
        print(f"{file}: {file.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES)
