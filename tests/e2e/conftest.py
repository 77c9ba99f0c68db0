"""What several of the tests here need once."""

from __future__ import annotations

import pytest

from tests.support.tls import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    for name in ("server", "client"):
        authority.issue(name)
    return authority
