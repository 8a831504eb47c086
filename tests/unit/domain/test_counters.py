"""Counters that many threads use, and the limit on the number of counters."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from responsa_server.domain.counters import MAX_COUNTERS, Count, Counters


def test_what_is_counted_is_read_by_name_and_labels() -> None:
    counters = Counters()
    counters.add("fallbacks", {"kind": "rule", "agent": "chat"})
    counters.add("fallbacks", {"agent": "chat", "kind": "rule"}, 2)
    counters.add("fallbacks", {"agent": "tutor", "kind": "rule"})
    counters.add("calls", {})
    assert counters.read() == [
        Count("calls", {}, 1),
        Count("fallbacks", {"agent": "chat", "kind": "rule"}, 3),
        Count("fallbacks", {"agent": "tutor", "kind": "rule"}, 1),
    ]


def test_threads_lose_nothing() -> None:
    counters = Counters()

    def work(_: int) -> None:
        for _ in range(2000):
            counters.add("x", {})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert counters.read() == [Count("x", {}, 16_000)]


def test_labels_without_end_are_counted_together() -> None:
    counters = Counters()
    for number in range(MAX_COUNTERS + 50):
        counters.add("x", {"number": str(number)})
    found = counters.read()
    assert len(found) == MAX_COUNTERS + 1
    assert found[0] == Count("x", {}, 50)
