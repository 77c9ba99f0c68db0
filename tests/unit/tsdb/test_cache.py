"""The decode cache: bounded, it prefers the newest, and many threads may use it."""

import random
import threading

import pytest

from prom_probe.tsdb.cache import Cache
from tests.support.waiting import DEADLINE_S


def _fill(cache: Cache, keys: list[tuple[int, int]], size: int = 600) -> list[tuple[int, int]]:
    """Ask for entries (block, number), whose newest timestamp is the block's number; returns those that were made."""
    made = []
    for key in keys:

        def make(key: tuple[int, int] = key) -> tuple[str, int]:
            made.append(key)
            return str(key), size

        assert cache.get(key, key[0], make) == str(key)
    return made


def test_what_was_made_is_not_made_again() -> None:
    """A value is found under its key, and its bytes are counted."""
    cache = Cache(10_000)
    assert _fill(cache, [(1, 0), (1, 0), (2, 0)]) == [(1, 0), (2, 0)]
    assert cache.bytes == 2 * (600 + 400)


def test_the_oldest_goes_first_and_never_for_an_older_one() -> None:
    """A scan larger than the cache finds its newest part, however often it is repeated."""
    cache = Cache(4000)
    scan = [(block, 0) for block in range(10)]
    assert _fill(cache, scan) == scan
    assert [_fill(cache, scan) for _ in range(5)] == [scan[:6]] * 5
    assert _fill(cache, [(0, 1), (9, 1)]) == [(0, 1), (9, 1)]
    assert _fill(cache, [(9, 0), (9, 1), (8, 0), (7, 0), (6, 0)]) == [(6, 0)]
    assert cache.bytes <= 4000


@pytest.mark.parametrize(
    ("limit", "keys", "left"),
    [
        (1000, [(1, 0), (2, 0)], [(2, 0)]),
        (1000, [(2, 0), (1, 0)], [(2, 0)]),
        (2000, [(1, 0), (2, 0)], [(1, 0), (2, 0)]),
        (2000, [(1, 0), (1, 1), (1, 2)], [(1, 1), (1, 2)]),
        (3999, [(1, 0), (3, 0), (2, 0), (4, 0)], [(3, 0), (2, 0), (4, 0)]),
    ],
)
def test_no_more_is_evicted_than_must_be(limit: int, keys: list[tuple[int, int]], left: list[tuple[int, int]]) -> None:
    """A cache of one entry; one that is exactly full; of equally old entries the first one; what remains is found."""
    cache = Cache(limit)
    _fill(cache, keys)
    assert cache.bytes == 1000 * len(left)
    assert _fill(cache, left) == []


def test_what_nobody_asks_for_makes_room_for_older_samples() -> None:
    """A look at the newest block does not keep the cache from a dashboard that asks for older ones again and again."""
    cache = Cache(4000)
    _fill(cache, [(9, 0), (9, 1), (9, 2), (9, 3)])
    dashboard = [(1, 0), (2, 0), (3, 0)]
    made = [len(_fill(cache, dashboard)) for _ in range(9)]
    assert made[0] == 3 and made[-1] == 0


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
