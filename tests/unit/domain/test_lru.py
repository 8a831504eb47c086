"""A cache with a limit in bytes."""

from __future__ import annotations

from responsa_server.domain.cache import LruCache


def test_the_least_recently_used_values_are_evicted() -> None:
    cache: LruCache[str, int] = LruCache(100)
    for number, key in enumerate("abc"):
        cache.put(key, number, 30)
    assert cache.get("a") == 0
    cache.put("d", 3, 30)
    assert [cache.get(key) for key in "abcd"] == [0, None, 2, 3]
    assert cache.size_bytes == 90


def test_a_value_that_has_grown_counts_once() -> None:
    cache: LruCache[str, int] = LruCache(100)
    cache.put("a", 1, 30)
    cache.put("b", 2, 30)
    cache.put("a", 3, 60)
    assert (cache.get("a"), cache.get("b"), cache.size_bytes) == (3, 2, 90)


def test_a_value_that_is_too_large_evicts_nothing() -> None:
    cache: LruCache[str, int] = LruCache(100)
    cache.put("a", 1, 30)
    cache.put("b", 2, 101)
    assert (cache.get("a"), cache.get("b"), cache.size_bytes) == (1, None, 30)
    cache.put("a", 3, 101)
    assert (cache.get("a"), cache.size_bytes) == (None, 0)


def test_values_may_fill_the_cache_to_its_last_byte() -> None:
    cache: LruCache[str, int] = LruCache(100)
    cache.put("a", 1, 40)
    cache.put("b", 2, 60)
    assert (cache.get("a"), cache.get("b"), cache.size_bytes) == (1, 2, 100)
