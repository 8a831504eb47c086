from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from responsa_formats.parsers.table import FORMATS
from responsa_formats.text.canonical import Block, BlockKind, ParsedDocument
from responsa_server.domain.knowledge import Chunking
from responsa_server.domain.passages import OutlinedHeading, open_headings, titles_of
from responsa_server.ingest.chunk import JOINED_TOKENS, PIECE_CHARS, Chunk, TokenOffsets, chunk_document
from tests.formats.originals import original_of

PARSERS = {row.name: row.load() for row in FORMATS}
TEXTS = st.text(
    st.one_of(
        st.sampled_from("#>- \n\r\t.!?|`a漢字\u0301\u200d😀🇩🇪👨👩🏽\u1100\u1161\u11a8\x01"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
    ),
    min_size=1,
    max_size=300,
)


def words(text: str) -> list[tuple[int, int]]:
    """Words and punctuation marks, as a WordPiece pre-tokenizer cuts a text."""
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def spaced(text: str) -> list[tuple[int, int]]:
    """Words, each with the space before it, as SentencePiece reports them."""
    return [match.span() for match in re.finditer(r"\s*\S+", text)]


def bytewise(text: str) -> list[tuple[int, int]]:
    """One token for each byte. A character beyond ASCII has several tokens with the same offsets."""
    return [(i, i + 1) for i, character in enumerate(text) for _ in character.encode()]


def forgetful(text: str) -> list[tuple[int, int]]:
    """A tokenizer that skips everything except ASCII letters, and reports an empty token."""
    return [(0, 0), *(match.span() for match in re.finditer(r"[a-z]+", text))]


TOKENIZERS = [words, spaced, bytewise, forgetful]


def parse(text: str, kind: str = "MARKDOWN") -> ParsedDocument:
    return PARSERS[kind](original_of(text, kind))


def check(document: ParsedDocument, chunks: Sequence[Chunk]) -> None:
    data = document.canonical_text.encode()
    covered = bytearray(len(data))
    start = end = -1
    for ordinal, chunk in enumerate(chunks):
        assert chunk.ordinal == ordinal
        assert data[chunk.byte_start : chunk.byte_end].decode() == chunk.text
        assert chunk.text == chunk.text.strip() != ""
        assert chunk.byte_start > start
        assert chunk.byte_end > end
        start, end = chunk.byte_start, chunk.byte_end
        covered[start:end] = b"\x01" * (end - start)
    rest = "".join(
        c
        for c, place in zip(document.canonical_text, _places(document.canonical_text), strict=True)
        if not covered[place]
    )
    assert not rest.strip()


def _places(text: str) -> list[int]:
    places: list[int] = []
    at = 0
    for character in text:
        places.append(at)
        at += len(character.encode())
    return places


@settings(max_examples=300)
@given(
    TEXTS,
    st.sampled_from(TOKENIZERS),
    st.integers(1, 40),
    st.integers(0, 39),
    st.sampled_from(["MARKDOWN", "TEXT"]),
)
def test_passages_are_exact_and_cover_all_that_is_visible(
    text: str, tokenizer: TokenOffsets, most: int, overlap: int, kind: str
) -> None:
    document = parse(text, kind) if text.strip() else ParsedDocument("t", text, (), None, "TEXT")
    bounds = Chunking(most, min(overlap, most - 1))
    chunks = chunk_document(document, tokenizer, bounds)
    check(document, chunks)
    if tokenizer is words:
        # A user-perceived character is never split, even if it has many tokens.
        assert all(chunk.tokens <= max(most, 64) for chunk in chunks)


@pytest.mark.parametrize("tokenizer", [words, spaced])
def test_sizes_and_overlap_of_plain_prose(tokenizer: TokenOffsets) -> None:
    text = " ".join(f"Sentence {n} says that water boils at {n} degrees." for n in range(1000))
    document = parse(text, "TEXT")
    chunks = chunk_document(document, tokenizer, Chunking())
    check(document, chunks)
    for chunk in chunks:
        assert chunk.tokens == len(tokenizer(chunk.text)) <= 500
        assert chunk.text.startswith("Sentence")
        assert chunk.text.endswith("degrees.")
    for chunk, following in pairwise(chunks):
        assert chunk.tokens > 300
        shared = document.canonical_text.encode()[following.byte_start : chunk.byte_end].decode()
        assert 25 <= len(tokenizer(shared)) <= 50


def test_short_documents_are_one_passage() -> None:
    (chunk,) = chunk_document(parse("# A\n\nb\n\n## C\n\nd\n"), words, Chunking())
    outline = (OutlinedHeading(0, 1, "A"), OutlinedHeading(8, 2, "C"))
    assert chunk == Chunk(0, 0, 15, "# A\n\nb\n\n## C\n\nd", 7, ("A",), outline)


@pytest.mark.parametrize("gap", ["\n", "\n\n"])
def test_passages_begin_behind_the_front_matter(gap: str) -> None:
    front = "---\ntitle: Ä\ntags: [one, two]\n---"
    (chunk,) = chunk_document(parse(f"{front}{gap}Body.\n"), words, Chunking())
    assert (chunk.text, chunk.byte_start) == ("Body.", len(f"{front}{gap}".encode()))
    assert not chunk_document(parse(front), words, Chunking())


def test_the_outline_of_a_passage_gives_the_path_at_each_of_its_places() -> None:
    text = "# Top\n\n" + "".join(
        f"{'#' * level} H{number}\n\nw{number} x y z.\n\n"
        for number, level in enumerate([2, 3, 3, 2, 4, 2, 3, 1, 2] * 4)
    )
    document = parse(text)
    chunks = chunk_document(document, words, Chunking(30, 8))
    assert len(chunks) > 5
    headings = [
        OutlinedHeading(block.byte_start, block.level, block.title)
        for block in document.blocks
        if block.kind is BlockKind.HEADING
    ]
    for chunk in chunks:
        for place in range(chunk.byte_start, chunk.byte_end):
            path = open_headings(one for one in chunk.outline if one.start <= place)
            assert path == open_headings(one for one in headings if one.start <= place)


def test_passages_of_the_documentation_belong_to_their_sections() -> None:
    folder = Path(__file__).parents[3] / "docs"
    link = re.compile(r"\[[^\[\]\n]*\]\([^()\s]*\)")
    count = 0
    for page in sorted(folder.rglob("*.md")):
        document = parse(page.read_text())
        data = document.canonical_text.encode()
        headings = [one for one in document.blocks if one.kind is BlockKind.HEADING]
        rows = {
            start
            for block in document.blocks
            if block.kind is BlockKind.TABLE
            for start in _lines(data, block.byte_start, block.byte_end)
        }
        links = [
            range(
                len(document.canonical_text[: match.start()].encode()) + 1,
                len(document.canonical_text[: match.end()].encode()),
            )
            for match in link.finditer(document.canonical_text)
        ]
        previous = None
        for chunk in chunk_document(document, words, Chunking(), language="en"):
            count += 1
            start, end = chunk.byte_start, chunk.byte_end
            before = data[:start].decode()[-1:]
            assert not (before.isalnum() and chunk.text[0].isalnum()), (page.name, chunk.text[:60])
            assert not any(start in one for one in links), (page.name, chunk.text[:60])
            # What it stands below is true of all of it.
            edges = [start, *(one.byte_start for one in headings if start < one.byte_start < end)]
            for edge in edges:
                path = open_headings(
                    OutlinedHeading(one.byte_start, one.level, one.title)
                    for one in headings
                    if one.byte_start <= edge
                )
                assert titles_of(path)[: len(chunk.heading_path)] == chunk.heading_path, page.name
            assert len(edges) == 1 or chunk.tokens < JOINED_TOKENS or _is_lone(data, headings, edges)
            if previous is not None and start < previous.byte_end:
                shared = data[start : previous.byte_end].decode()
                assert not any(start < one.byte_start < previous.byte_end for one in headings), page.name
                assert start in rows or re.search(r"(^|[\n.:?!*)”`_|]\s*)$", data[:start].decode()), shared
            previous = chunk
    assert count > 500


def _lines(data: bytes, start: int, end: int) -> Iterator[int]:
    for line in data[start:end].splitlines(keepends=True):
        yield start
        start += len(line)


def _is_lone(data: bytes, headings: Sequence[Block], edges: Sequence[int]) -> bool:
    """Whether the passage has only headings before its last section."""
    ends = {one.byte_start: one.byte_end for one in headings}
    return all(
        edge in ends and not data[ends[edge] : following].strip() for edge, following in pairwise(edges)
    )


def test_what_a_mail_quotes_is_a_passage_of_its_own() -> None:
    mail = (
        "From: a@example.org\nSubject: Re: Key\n\nThe key is with Oda.\n\n"
        "On Monday, 2 November 2026, Tim <t@example.org> wrote:\n> Who has the key? I believe Ida has it.\n"
    )
    own, quoted = chunk_document(parse(mail, "EML"), words, Chunking())
    assert ("Oda" in own.text, "Ida" in own.text) == (True, False)
    assert quoted.heading_path[-1].startswith("Quoted: On Monday")


def test_short_sections_below_the_same_heading_are_one_passage() -> None:
    long = "It says more about this. " * 40
    text = (
        f"# Top\n\n## A\n\nOne.\n\n### A1\n\nTwo.\n\n## B\n\nThree.\n\n## C\n\n{long}\n\n### C1\n\nFour.\n\n"
        f"## D\n\n## E\n\nFive.\n\n# Next\n\n## F\n\n{long}"
    )
    chunks = chunk_document(parse(text), words, Chunking())
    assert [(chunk.heading_path, re.findall("(?m)^#+ (.*)$", chunk.text)) for chunk in chunks] == [
        (("Top",), ["Top", "A", "A1", "B"]),
        (("Top", "C"), ["C"]),
        (("Top", "C", "C1"), ["C1"]),
        (("Top",), ["D", "E"]),
        (("Next",), ["Next", "F"]),
    ]


def test_the_overlap_is_whole_rows_and_whole_sentences() -> None:
    rows = "".join(f"| row {n} | {n * 7} | some words for it |\n" for n in range(200))
    table = f"# T\n\n| a | b | c |\n|---|---|---|\n{rows}"
    prose = "# P\n\n" + " ".join(
        f"Sentence {n} has\na [link with. Some words](https://example.org/{n})." for n in range(200)
    )
    for text, begin in ((table, "| row"), (prose, "Sentence")):
        chunks = chunk_document(parse(text), words, Chunking(120, 40), language="en")
        assert len(chunks) > 5
        for chunk, following in pairwise(chunks):
            assert following.text.startswith(begin)
            assert following.byte_start < chunk.byte_end


def test_headings_stay_with_what_follows_and_give_the_path() -> None:
    section = "\n\n".join(" ".join(f"w{n}x{m}" for m in range(12)) + "." for n in range(3))
    text = "# Top\n\n" + "\n\n".join(f"## Part {n}\n\n### Detail {n}\n\n{section}" for n in range(20))
    document = parse(text)
    chunks = chunk_document(document, words, Chunking(60, 10))
    check(document, chunks)
    assert len(chunks) > 10
    for chunk in chunks:
        assert not chunk.text.splitlines()[-1].startswith("#")
        assert chunk.heading_path[0] == "Top"
    assert any(
        chunk.heading_path == ("Top", "Part 7") or chunk.heading_path[1:2] == ("Part 7",) for chunk in chunks
    )


def test_breaks_are_at_sentences_rather_than_words() -> None:
    text = " ".join("one two three four five six seven." for _ in range(200))
    for chunk in chunk_document(parse(text, "TEXT"), words, Chunking(30, 0)):
        assert chunk.text.startswith("one")
        assert chunk.text.endswith("seven.")


@pytest.mark.parametrize("cluster", ["e\u0301", "👨‍👩‍👧", "🇩🇪", "👍🏽", "각", "नि", "\r\n."])
def test_perceived_characters_are_whole(cluster: str) -> None:
    text = cluster * 400
    chunks = chunk_document(parse(text, "TEXT"), bytewise, Chunking(50, 10))
    assert len(chunks) > 5
    for chunk in chunks:
        assert chunk.text.strip() == chunk.text
        assert re.fullmatch(f"(?:{cluster})+", chunk.text) or "\r" in cluster


def test_one_word_a_hundred_thousand_times_is_cut_in_pieces() -> None:
    longest = 0

    def watched(text: str) -> list[tuple[int, int]]:
        nonlocal longest
        longest = max(longest, len(text))
        return words(text)

    chunks = chunk_document(parse("word " * 100_000, "TEXT"), watched, Chunking())
    assert longest <= PIECE_CHARS
    assert {chunk.tokens >= 300 for chunk in chunks[:-1]} == {True}
    assert len(chunks) < 300


@pytest.mark.parametrize(
    "text", ["x" * 300_000, "x" + " " * 300_000 + "y", "漢" * 100_000, "a\u0301" * 100_000, "\x01" * 50_000]
)
@pytest.mark.parametrize("tokenizer", [words, forgetful])
def test_passages_stay_small_whatever_the_tokenizer_says(text: str, tokenizer: TokenOffsets) -> None:
    document = parse(text, "TEXT")
    chunks = chunk_document(document, tokenizer, Chunking())
    check(document, chunks)
    assert max(len(chunk.text) for chunk in chunks) <= 500 * 64


@pytest.mark.parametrize(("most", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_settings_are_checked(most: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        chunk_document(parse("Words.", "TEXT"), words, Chunking(most, overlap))
