"""What several of the tests here need once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.image import build


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the program that the Dockerfile's steps make."""
    return build(tmp_path_factory.mktemp("image"))
