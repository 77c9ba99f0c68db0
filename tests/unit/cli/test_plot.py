"""`prom-probe query --plot`: what is drawn is where it belongs."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import pytest

from prom_probe.cli.answer import AnswerSeries, AnswerStyle, QueryAnswer
from prom_probe.cli.error import ClientError
from prom_probe.cli.plot import draw

START_S = 1_700_000_000.0
MIB = 1 << 20
UTC = AnswerStyle(utc=True)


def series(name: str, values: Sequence[object], **labels: str) -> AnswerSeries:
    """A value a second; None for a gap."""
    points = [(START_S + i, str(value)) for i, value in enumerate(values) if value is not None]
    return AnswerSeries({"__name__": name, **labels}, points)


def plot(*drawn: AnswerSeries, style: AnswerStyle = UTC, colors: bool = False) -> list[str]:
    return draw(QueryAnswer("matrix", list(drawn), []), style, 1.0, columns=85, colors=colors).splitlines()


def canvas(lines: list[str]) -> list[tuple[str, str]]:
    """(label of the value, what is drawn) of each row but the first, from the top."""
    rows = [line.partition("|") for line in lines if re.match(r"[^|]+\|", line)]
    return [(label.strip(), drawn) for label, _, drawn in rows[1:] if not label.startswith("---") and label.strip()]


def test_a_spike_is_at_its_value_and_its_moment() -> None:
    """The row's label is near the value; the columns follow the time."""
    lines = plot(series("m_bytes", [100 * MIB] * 20 + [300 * MIB] + [100 * MIB] * 40, tree="app"))
    (at,) = [(label, drawn.index("a")) for label, drawn in canvas(lines)[:8] if "a" in drawn]
    assert 280 < float(at[0].removesuffix(" MiB")) <= 300
    low = next(drawn for label, drawn in canvas(lines) if drawn.count("a") > 10)
    assert abs((at[1] - 1) / (len(low.rstrip()) - 1) - 20 / 60) < 0.05
    assert lines[-1] == 'a  m_bytes{tree="app"}'
    assert any("22:13:20" in line for line in lines) and any("(Z)" in line for line in lines)


def test_a_gap_is_not_bridged() -> None:
    """Without points there is nothing in the columns between."""
    lines = plot(series("m", [5.0] * 10 + [None] * 40 + [5.0] * 11))
    row = next(drawn for _, drawn in canvas(lines) if "a" in drawn)
    assert "⠀" * 30 in row


def test_a_single_point_is_drawn() -> None:
    """A process that lived for a second."""
    assert any("a" in drawn for _, drawn in canvas(plot(series("m", [1.0]))))


def test_the_largest_of_many_are_drawn() -> None:
    """The legend says how many are not, and names what is drawn, largest first."""
    lines = plot(*(series(f"m{i}", [float(i)] * 3) for i in range(10)), series("none", ["NaN"]))
    legend = lines[lines.index("") + 1 :]
    assert legend == [*(f"{chr(ord('a') + i)}  m{9 - i}" for i in range(7)), "4 smaller series are not drawn"]


def test_raw_values_have_no_units() -> None:
    """As in a table."""
    labels = [label for label, _ in canvas(plot(series("m_bytes", [0.0, 4096.0]), style=AnswerStyle(raw=True)))]
    assert not any("B" in label for label in labels)


def test_a_terminal_has_colors_for_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each series has its own."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # plotille looks for a terminal itself
    lines = plot(series("m", [1.0, 2.0]), series("n", [3.0, 4.0]), colors=True)
    assert len({re.findall(r"\x1b\[\d+m", line)[0] for line in lines[-2:]}) == 2
    assert not any("a" in drawn for _, drawn in canvas(lines))


def test_nothing_to_draw() -> None:
    """No series has a number."""
    assert plot(series("m", ["NaN", "+Inf"])) == ["(no number to draw)"]


def test_without_the_package_a_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "plotille", None)
    with pytest.raises(ClientError, match=r"--plot needs the package plotille: pip install 'prom-probe\[plot\]'"):
        plot(series("m", [1.0]))
