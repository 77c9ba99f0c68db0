"""The configuration page is what the settings' table says."""

from prom_probe.config.page import page
from prom_probe.config.settings import FLAGS
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert PAGE.read_text() == page(), "run `make docs`"


def test_every_setting_is_on_it() -> None:
    """By flag and variable."""
    text = page()
    assert all(f"`{option.flag}" in text and f"`{option.variable}`" in text for option in FLAGS)
