"""Makes the pictures of the page in docs/pictures: the same run with its spike, light, dark and on a narrow screen.

python -m tests.grafana_render.page_pictures [FOLDER]; it takes two minutes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.grafana_render.pictures import PICTURES
from tests.grafana_render.render import HERE, modules
from tests.support.chromium import Chromium
from tests.support.programs import program
from tests.support.sidecar import Sidecar

RUN_S = 110  # the spike is after 80 seconds
SHOTS = {"page": ("light", 1280, 760), "page-dark": ("dark", 1280, 760), "page-narrow": ("light", 360, 1150)}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as here:
        shutil.copy(HERE / "training.py", f"{here}/train.py")
        with (
            Sidecar("--", "python3", "train.py", "600", prefix=("env", "-C", here, "PATH=/usr/bin:/bin")) as sidecar,
            Chromium() as page,
        ):
            time.sleep(RUN_S)
            for name, (scheme, width, height) in SHOTS.items():
                page.size(width, height, mobile=width < 600)
                page.scheme(scheme)
                page.open("about:blank")
                page.open(f"{sidecar.api}/#last=120")
                page.wait("a table", "document.querySelectorAll('#processes tbody tr').length >= 4")
                page.press("#memory-peak")
                page.wait("the moment", "location.hash.includes('at=')")
                page.listen(3)
                page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
                page.picture(folder / f"{name}.png")
                for trouble in page.complaints():
                    print(trouble, file=sys.stderr)
    modules()
    files = [str(folder / f"{name}.png") for name in SHOTS]
    subprocess.run([program("node"), str(HERE / "small.mjs"), *files], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES)
