"""The store on disk, compared with a model: what flushes have written survives every crash and every fault, once."""

import errno

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.disk_tools import Disk, Life, small_pieces
from tests.support.memory import folder_in_memory

_VALUES = st.one_of(st.integers(-5, 1000).map(float), st.floats(allow_nan=False), st.none())
_ROW = st.lists(_VALUES, max_size=6)
_CODES = st.sampled_from([errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
_ROWS = st.tuples(st.just("rows"), st.integers(1, 20), _ROW)
_APPENDED = st.tuples(st.just("appended"), st.lists(st.tuples(st.integers(0, 3), st.floats()), min_size=1, max_size=6))
_TIDY = st.tuples(st.just("tidy"))
_FLUSH = st.tuples(st.just("flush"), st.booleans())
_CRASH = st.tuples(st.just("crash"), st.floats(0, 1))
_FAIL = st.tuples(st.just("fail"), st.integers(0, 15), st.one_of(st.integers(1, 5), st.just(float("inf"))), _CODES)
_LIFE = [
    *[_ROWS, _APPENDED, _TIDY, _FLUSH] * 3,
    st.tuples(st.just("grow"), st.integers(0, 3)),
    st.tuples(st.just("compact"), st.integers(0, 3)),
    st.tuples(st.just("stale")),
    st.tuples(st.just("reopen")),
    _CRASH,
    _CRASH,
]
_HARD_LIFE = [*_LIFE, _FAIL, _FAIL, _FAIL, st.tuples(st.just("recover"))]


def _live(operations: list[tuple[str, object]]) -> None:
    with folder_in_memory() as folder, small_pieces(), Disk().beneath() as disk:
        life = Life(folder / "store", disk)
        for name, *arguments in operations:
            getattr(disk if name == "fail" else life, name)(*arguments)
        life.recover()
        life.crash(1.0)
        life.store.close()


@given(st.lists(st.sampled_from(_LIFE).flatmap(lambda one: one), min_size=20, max_size=50))
@settings(max_examples=20)
def test_what_was_flushed_survives_crashes(operations: list[tuple[str, object]]) -> None:
    """Appends, sealing, merges, restarts and crashes: flushed samples are there, none doubled or made up."""
    _live(operations)


@given(st.lists(st.sampled_from(_HARD_LIFE).flatmap(lambda one: one), min_size=20, max_size=50))
@settings(max_examples=25)
def test_what_was_flushed_survives_faults(operations: list[tuple[str, object]]) -> None:
    """The same with file operations that fail, for a while or for good."""
    _live(operations)
