"""Where the checkout and its fixtures lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
HOST = FIXTURES / "host"
