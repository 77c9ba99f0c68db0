"""The order of rows: sorted, as a tree, filtered, folded."""

from __future__ import annotations

import pytest

from prom_probe.cli.top.arrange import ListedRow, Order, arrange
from prom_probe.cli.top.process_row import ProcessRow

MIB = 1 << 20


def process(pid: int, ppid: int | None = None, mib: int | None = 1, name: str = "work", **more: float) -> ProcessRow:
    memory = None if mib is None else float(mib * MIB)
    return ProcessRow(pid, float(pid), name, ppid=ppid, memory=memory, **more)  # type: ignore[arg-type]


# 1 ─┬─ 2 ─── 4
#    └─ 3
TREE = [
    process(1, mib=1, cpu=0.0),
    process(2, 1, mib=2, name="shell", cpu=0.5),
    process(3, 1, mib=10, cpu=0.1),
    process(4, 2, mib=300, name="Loader", cpu=0.2),
]


def shown(listed: list[ListedRow]) -> list[str]:
    return [f"{one.branch}{one.row.pid}" for one in listed]


def test_a_tree_has_the_branch_first_that_has_most_in_all() -> None:
    """The shell itself has little: its child is what is looked for."""
    assert shown(arrange(TREE, Order())) == ["1", "├─ 2", "│  └─ 4", "└─ 3"]


@pytest.mark.parametrize(
    ("order", "pids"),
    [
        (Order(tree=False), [4, 3, 2, 1]),
        (Order(tree=False, reverse=True), [1, 2, 3, 4]),
        (Order(tree=False, by="cpu"), [2, 4, 3, 1]),
        (Order(tree=False, by="name"), [4, 2, 1, 3]),
        (Order(tree=False, by="pid"), [1, 2, 3, 4]),
        (Order(tree=False, by="pid", reverse=True), [4, 3, 2, 1]),
        (Order(tree=False, filter="LOADER"), [4]),
        (Order(tree=False, filter="3"), [3]),
        (Order(tree=True, filter="loader"), [1, 2, 4]),
        (Order(tree=True, filter="nothing"), []),
    ],
)
def test_orders(order: Order, pids: list[int]) -> None:
    """Names and PIDs begin with the least, numbers with the largest; in a tree, ancestors stay."""
    assert [one.row.pid for one in arrange(TREE, order)] == pids


def test_what_is_not_known_comes_last_either_way() -> None:
    """It is neither large nor small."""
    rows = [process(1, mib=None), process(2, mib=5), process(3, mib=9)]
    for reverse, pids in ((False, [3, 2, 1]), (True, [2, 3, 1])):
        assert [one.row.pid for one in arrange(rows, Order(tree=False, reverse=reverse))] == pids


def test_one_that_has_ended_sorts_by_its_peak() -> None:
    """It may be the culprit."""
    gone = ProcessRow(9, 9.0, "gone", peak=500.0 * MIB, end=10.0, mark="ended")
    assert arrange([*TREE, gone], Order(tree=False))[0].row.pid == 9


def test_a_folded_process_stands_for_all_below_it() -> None:
    """It has their sum; what has nothing below it cannot be folded."""
    folded = frozenset({TREE[1].key, TREE[2].key})
    listed = arrange(TREE, Order(folded=folded))
    assert shown(listed) == ["1", "├─ 2", "└─ 3"]
    assert listed[1].row.memory == 302 * MIB and listed[1].row.cpu == pytest.approx(0.7)
    assert [row.pid for row in listed[1].folded] == [4]
    assert listed[0].row.memory == MIB and listed[2].folded == ()


def test_no_parent_is_younger_than_its_child() -> None:
    """A PID that was used again is no parent, and nothing goes in circles."""
    rows = [ProcessRow(5, 100.0, "young", ppid=6), ProcessRow(6, 50.0, "old", ppid=5)]
    assert shown(arrange(rows, Order())) == ["6", "└─ 5"]
    assert shown(arrange([ProcessRow(7, 1.0, "own", ppid=7)], Order())) == ["7"]


def test_a_chain_of_forks_is_deeper_than_the_stack() -> None:
    """3,000 of them."""
    rows = [process(pid, pid - 1) for pid in range(1, 3001)]
    assert [one.row.pid for one in arrange(rows, Order())] == list(range(1, 3001))
    assert len(arrange(rows, Order(folded=frozenset({rows[0].key})))[0].folded) == 2999


def test_sorting_by_the_same_again_turns_it_round() -> None:
    """And by another one begins with that one's own direction."""
    order = Order().sorted_by("memory")
    assert (order.by, order.reverse, order.is_upward) == ("memory", True, True)
    assert order.sorted_by("name") == Order(by="name") and Order(by="name").is_upward
