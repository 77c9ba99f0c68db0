"""The decode cache: bounded, it keeps what is asked for again, and many threads may use it."""

import random
import threading

import pytest

from prom_probe.tsdb.cache import Cache
from tests.support.waiting import DEADLINE_S


def _fill(cache: Cache, keys: list[tuple[int, int]], size: int = 600) -> list[tuple[int, int]]:
    """Ask for entries (block, number); returns those that were made."""
    made = []
    for key in keys:

        def make(key: tuple[int, int] = key) -> tuple[str, int]:
            made.append(key)
            return str(key), size

        assert cache.get(key, make) == str(key)
    return made


def test_what_was_made_is_not_made_again() -> None:
    """A value is found under its key, and its bytes are counted."""
    cache = Cache(10_000)
    assert _fill(cache, [(1, 0), (1, 0), (2, 0)]) == [(1, 0), (2, 0)]
    assert cache.bytes == 2 * (600 + 400)


def test_a_selection_larger_than_the_cache_finds_a_part_of_it() -> None:
    """What is in the cache and is asked for each time stays, however often the rest goes by."""
    cache = Cache(4000)
    scan = [(1, number) for number in range(10)]
    assert _fill(cache, scan) == scan
    assert [_fill(cache, scan) for _ in range(5)] == [scan[4:]] * 5
    assert cache.bytes == 4000


def test_two_selections_that_alternate_do_not_evict_each_other() -> None:
    """Of two panels that fit one by one but not together, the first stays, and as much of the second as fits."""
    cache = Cache(4000)
    first, second = [(1, number) for number in range(3)], [(2, number) for number in range(3)]
    for _ in range(4):
        _fill(cache, first)
        _fill(cache, second)
    assert _fill(cache, first) == []
    assert _fill(cache, second) == second[1:]


def test_what_nobody_asks_for_makes_room() -> None:
    """Whoever turns to other values has them in the cache from the second time on; a single look evicts nothing."""
    cache = Cache(4000)
    before, after = [(9, number) for number in range(4)], [(1, 0), (2, 0), (3, 0)]
    _fill(cache, before)
    assert _fill(cache, after) == after
    assert _fill(cache, before) == []
    assert _fill(cache, after) == after
    assert [_fill(cache, after) for _ in range(3)] == [after, [], []]


def test_no_more_is_evicted_than_must_be() -> None:
    """The entry that was used longest ago goes, and only if that is enough."""
    cache = Cache(3999)
    _fill(cache, [(1, 0), (2, 0), (3, 0), (1, 0)])
    _fill(cache, [(4, 0), (4, 0)])
    assert _fill(cache, [(3, 0), (1, 0), (4, 0)]) == []
    _fill(cache, [(5, 0), (1, 0), (3, 0), (5, 0)], size=2000)
    assert _fill(cache, [(1, 0), (3, 0), (4, 0)]) == []


@pytest.mark.parametrize("limit", [1000, 1999])
def test_a_cache_of_one_entry(limit: int) -> None:
    """It holds the last entry that was asked for twice in a row."""
    cache = Cache(limit)
    _fill(cache, [(1, 0), (2, 0), (1, 0), (2, 0)])
    assert _fill(cache, [(1, 0)]) == []
    _fill(cache, [(2, 0), (2, 0)])
    assert _fill(cache, [(2, 0)]) == []


def test_missed_keys_are_forgotten_in_time() -> None:
    """Keys that are asked for but not kept take bounded memory, and push nothing out."""
    cache = Cache(1000)
    many = [(2, number) for number in range(3000)]
    _fill(cache, [(1, 0)])
    for _ in range(2):
        assert _fill(cache, many) == many
    assert _fill(cache, [(1, 0)]) == []


def test_too_large_a_value_is_not_kept() -> None:
    """A value larger than the whole cache evicts nothing."""
    cache = Cache(4000)
    _fill(cache, [(1, 0)])
    _fill(cache, [(2, 0)], size=5000)
    assert _fill(cache, [(1, 0)]) == []


def test_a_smaller_cache_drops_its_oldest_at_once() -> None:
    """And a larger one holds more."""
    cache = Cache(4000)
    _fill(cache, [(block, 0) for block in range(4)])
    cache.resize(2000)
    assert cache.bytes == 2000
    assert _fill(cache, [(2, 0), (3, 0)]) == []
    cache.resize(0)
    assert cache.bytes == 0
    cache.resize(4000)
    assert _fill(cache, [(0, 0), (0, 0)]) == [(0, 0)]


def test_forget_drops_a_blocks_entries() -> None:
    """After a merge, the old blocks' entries are freed at once."""
    cache = Cache(4000)
    _fill(cache, [(1, 0), (1, 1), (2, 0)])
    cache.forget({1})
    assert cache.bytes == 1000
    assert _fill(cache, [(2, 0), (1, 0)]) == [(1, 0)]


def test_many_threads_share_it() -> None:
    """Eight threads ask and forget: every answer is right, and the byte count is exact."""
    cache = Cache(20_000)
    failures: list[BaseException] = []

    def ask(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(300):
                _fill(cache, [(rng.randrange(30), rng.randrange(3))])
                if rng.random() < 0.02:
                    cache.forget({rng.randrange(30)})
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not failures
    assert 0 <= cache.bytes <= 20_000
    cache.forget(set(range(30)))
    assert cache.bytes == 0
