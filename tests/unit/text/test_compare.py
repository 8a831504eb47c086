"""The comparison of two versions of a text."""

from __future__ import annotations

import difflib
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_server.domain.events import ByteRange
from responsa_server.text import compare as comparing
from responsa_server.text.compare import MAX_HUNKS, Comparison, Hunk, HunkKind, compare


def kinds(base: str, other: str) -> list[tuple[HunkKind, str, str]]:
    found = compare(base.encode(), other.encode())
    covers(found, base.encode(), other.encode())
    assert not found.cut
    return [(hunk.kind, cut_out(base, hunk.base), cut_out(other, hunk.other)) for hunk in found.hunks]


def cut_out(text: str, where: ByteRange) -> str:
    return text.encode()[where.start : where.end].decode()


def covers(comparison: Comparison, base: bytes, other: bytes) -> None:
    """Check that the hunks cover both texts in order, and that their kinds are true."""
    at = (0, 0)
    for hunk in comparison.hunks:
        assert (hunk.base.start, hunk.other.start) == at
        at = (hunk.base.end, hunk.other.end)
        left, right = base[hunk.base.start : hunk.base.end], other[hunk.other.start : hunk.other.end]
        assert left or right
        assert (hunk.kind is HunkKind.EQUAL) == (left == right)
        assert (hunk.kind is HunkKind.INSERTED) == (not left)
        assert (hunk.kind is HunkKind.DELETED) == (not right)
    assert at == (len(base), len(other))
    assert all(
        one.kind is not other.kind for one, other in zip(comparison.hunks, comparison.hunks[1:], strict=False)
    )


EQUAL, INSERTED, DELETED, REPLACED = HunkKind


def test_a_line_in_the_middle() -> None:
    assert kinds("a\nb\nc\n", "a\nB\nc\n") == [
        (EQUAL, "a\n", "a\n"),
        (REPLACED, "b\n", "B\n"),
        (EQUAL, "c\n", "c\n"),
    ]
    assert kinds("a\nc\n", "a\nb\nc\n") == [
        (EQUAL, "a\n", "a\n"),
        (INSERTED, "", "b\n"),
        (EQUAL, "c\n", "c\n"),
    ]
    assert kinds("a\nb\nc\n", "a\nc\n") == [
        (EQUAL, "a\n", "a\n"),
        (DELETED, "b\n", ""),
        (EQUAL, "c\n", "c\n"),
    ]


def test_the_edges() -> None:
    assert kinds("", "") == []
    assert kinds("same\n", "same\n") == [(EQUAL, "same\n", "same\n")]
    assert kinds("", "new") == [(INSERTED, "", "new")]
    assert kinds("old", "") == [(DELETED, "old", "")]
    assert kinds("a\nend", "a\nend\n") == [(EQUAL, "a\n", "a\n"), (REPLACED, "end", "end\n")]
    assert kinds("é\n", "è\n") == [(REPLACED, "é\n", "è\n")]


def test_lines_without_a_unique_one_are_compared_too() -> None:
    base, other = "x\ny\nx\ny\nx\n" * 3, "x\ny\nx\nx\ny\n" * 3
    found = compare(base.encode(), other.encode())
    covers(found, base.encode(), other.encode())
    equal = sum(hunk.base.end - hunk.base.start for hunk in found.hunks if hunk.kind is EQUAL)
    matcher = difflib.SequenceMatcher(None, base.splitlines(), other.splitlines(), autojunk=False)
    assert equal >= 2 * sum(matching_block.size for matching_block in matcher.get_matching_blocks())


@given(st.lists(st.sampled_from("abcde"), max_size=40), st.lists(st.sampled_from("abcde"), max_size=40))
def test_any_lines(base: list[str], other: list[str]) -> None:
    kinds("\n".join(base), "\n".join(other))


def test_a_moved_word_in_a_long_text_is_one_hunk() -> None:
    lines = [f"line {number}\n" for number in range(60_000)]
    changed = [*lines[:30_000], "another\n", *lines[30_001:]]
    found = compare("".join(lines).encode(), "".join(changed).encode())
    assert [hunk.kind for hunk in found.hunks] == [EQUAL, REPLACED, EQUAL]
    assert not found.cut


@pytest.mark.parametrize("shape", ["blank", "two_words", "shuffled", "one_line"])
def test_the_time_is_bounded(shape: str) -> None:
    chance = random.Random(7)
    count = 3 * comparing.MAX_LINES
    match shape:
        case "blank":
            texts = ["a\n" + "\n" * count + "b\n", "b\n" + "\n" * (2 * count) + "a\n"]
        case "two_words":
            texts = ["".join(chance.choice(("x\n", "y\n")) for _ in range(count)) for _ in range(2)]
        case "shuffled":
            lines = [f"{number}\n" for number in range(count)]
            texts = ["".join(chance.sample(lines, count)) for _ in range(2)]
        case _:
            texts = ["x" * 20_000_000, "y" + "x" * 20_000_000]
    base, other = (text.encode() for text in texts)
    began = time.process_time()
    found = compare(base, other)
    assert time.process_time() - began < 20
    assert found.cut
    assert len(found.hunks) <= MAX_HUNKS
    covers(found, base, other)


def test_many_hunks_end_with_the_rest() -> None:
    base = "".join(f"{number}\nsame {number}\n" for number in range(1_000))
    other = "".join(f"{number}!\nsame {number}\n" for number in range(1_000))
    found = compare(base.encode(), other.encode())
    assert found.cut
    assert MAX_HUNKS - 1 <= len(found.hunks) <= MAX_HUNKS
    assert found.hunks[-1].base.end == len(base)
    assert isinstance(found.hunks[0], Hunk)
