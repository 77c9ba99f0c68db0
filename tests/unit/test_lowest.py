"""The lowest versions that are tested are those that pyproject.toml has."""

from __future__ import annotations

import pytest

from tests.support.lowest import lowest


def test_what_the_program_needs_is_pinned_to_its_lowest_version() -> None:
    """Extras too, unless they are those of who develops it."""
    extras = {"remote": ["c-d>=2.8"], "test": ["c-d>=3", "pytest"], "lint": ["ruff"], "bench": ["fastapi"]}
    project = {"dependencies": ["a>=0.19", "B.b>=6.0.1"], "optional-dependencies": extras}
    assert lowest(project) == ["a==0.19", "B.b==6.0.1", "c-d==2.8"]


@pytest.mark.parametrize("requirement", ["a", "a<2", "a>1", "a>=1,<2"])
def test_a_requirement_without_a_plain_lower_bound_is_an_error(requirement: str) -> None:
    """It names the requirement."""
    with pytest.raises(ValueError, match=f"NAME>=VERSION: {requirement}"):
        lowest({"dependencies": [requirement], "optional-dependencies": {}})
