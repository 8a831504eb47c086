from __future__ import annotations

from typing import Any

import pytest
import sentencex
from hypothesis import given
from hypothesis import strategies as st

from responsa_formats.parsers import markdown
from responsa_formats.text.canonical import Block, BlockKind, ParsedDocument
from responsa_server.text.sentences import MAX_PIECE_BYTES, Piece, PieceKind, pieces, plain, sentences
from tests.formats.originals import original_of

GUIDE = """\
# Going on after a cut

A client keeps the last `seq` it saw. It asks again with the
same *request_id*, e.g. from Fig. 2. Nothing is lost!

To start the server, run:

```sh
make up
# a comment. With a full stop.
```

Three things survive:

- the turn log
- the answer. And its citations.

| Part | State |
|------|-------|
| log  | kept  |

[manual]: https://example.org/manual
"""


def prose(text: str, language: str = "") -> list[Piece]:
    """The pieces of a text that is a single paragraph."""
    return pieces(text, [Block(BlockKind.PARAGRAPH, 0, len(text.encode()))], language)


def parsed(text: str) -> ParsedDocument:
    return markdown.parse(original_of(text, name="guide.md"))


def quotes(text: str) -> list[tuple[PieceKind, str]]:
    source = text.encode()
    return [
        (piece.kind, source[piece.byte_start : piece.byte_end].decode())
        for piece in pieces(text, parsed(text).blocks, "en")
    ]


def test_markdown_is_cut_along_its_structure() -> None:
    assert quotes(GUIDE) == [
        (PieceKind.HEADING, "# Going on after a cut"),
        (PieceKind.SENTENCE, "A client keeps the last `seq` it saw."),
        (PieceKind.SENTENCE, "It asks again with the\nsame *request_id*, e.g. from Fig. 2."),
        (PieceKind.SENTENCE, "Nothing is lost!"),
        (
            PieceKind.SENTENCE,
            "To start the server, run:\n\n```sh\nmake up\n# a comment. With a full stop.\n```",
        ),
        (PieceKind.SENTENCE, "Three things survive:\n\n- the turn log\n- the answer. And its citations."),
        (PieceKind.ROW, "| Part | State |"),
        (PieceKind.ROW, "| log  | kept  |"),
    ]


def test_a_list_too_long_for_its_introduction_stays_in_items() -> None:
    items = "".join(f"- item {number} {'word ' * 20}\n" for number in range(10))
    kinds = [kind for kind, _ in quotes(f"These are all:\n\n{items}")]
    assert kinds == [PieceKind.SENTENCE, *[PieceKind.ITEM] * 10]


@pytest.mark.parametrize("label", ["1.", "12)", "-"])
def test_the_label_of_a_long_item_belongs_to_its_first_sentence(label: str) -> None:
    item = f"{label} Turn the gas off. " + "Then wait for a while. " * 40
    assert quotes(item)[:2] == [
        (PieceKind.ITEM, f"{label} Turn the gas off."),
        (PieceKind.ITEM, "Then wait for a while."),
    ]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("First one. Second one? Third!", "en", ["First one.", "Second one?", "Third!"]),
        ("世界很大。我们很小！", "zh", ["世界很大。", "我们很小！"]),
        ("पहला वाक्य। दूसरा वाक्य।", "hi", ["पहला वाक्य।", "दूसरा वाक्य।"]),
        ("Das kostet z. B. 3.5 Euro. Mehr nicht.", "de", ["Das kostet z. B. 3.5 Euro.", "Mehr nicht."]),
        (
            "The parcels are in hall C. The gate is shut. It is by J. Smith, of the U. S. Navy.",
            "en",
            ["The parcels are in hall C.", "The gate is shut.", "It is by J. Smith, of the U. S. Navy."],
        ),
        (
            "Es liegt in Halle C. Das Tor ist z. B. für A. Huber zu.",
            "de",
            ["Es liegt in Halle C.", "Das Tor ist z. B. für A. Huber zu."],
        ),
        (
            "Its `code` is the contract's reason. No call lets owners see other tenants' data.",
            "en",
            ["Its `code` is the contract's reason.", "No call lets owners see other tenants' data."],
        ),
        ("Two paragraphs\n\nwithout full stops", "en", ["Two paragraphs", "without full stops"]),
        ("   ", "en", []),
        ("~~Dogs may come.~~ Cats may.", "en", ["Cats may."]),
        ("~~Dogs may come. Birds~~ Cats may.", "en", ["Cats may."]),
        ("<del>Dogs may come.</del> The fee is ~~80~~ 65.", "en", ["The fee is ~~80~~ 65."]),
        ("Write `~~` before and `~~` after.", "en", ["Write `~~` before and `~~` after."]),
    ],
)
def test_prose_in_several_languages(text: str, language: str, expected: list[str]) -> None:
    source = text.encode()
    assert [source[piece.byte_start : piece.byte_end].decode() for piece in prose(text, language)] == expected


def test_what_has_no_end_is_cut_at_words() -> None:
    text = "spam " * 100_000
    found = prose(text)
    assert all(piece.byte_end - piece.byte_start <= MAX_PIECE_BYTES for piece in found)
    assert sum(piece.byte_end - piece.byte_start + 1 for piece in found) == len(text)


@given(st.text(alphabet=st.sampled_from("aB.?! \n\t\"'()“”。！é😀\u0301[]:<>|`*_-#1~"), max_size=3000))
def test_pieces_are_exact_disjoint_and_in_order(text: str) -> None:
    source = text.encode()
    place = 0
    for piece in prose(text):
        assert place <= piece.byte_start < piece.byte_end <= len(source)
        assert piece.byte_end - piece.byte_start <= MAX_PIECE_BYTES
        quote = source[piece.byte_start : piece.byte_end].decode()
        assert quote == quote.strip(" \t\n\r\x0b\x0c")
        place = piece.byte_end


@given(st.text(alphabet=st.sampled_from("ab. \n#-*`|>:1é\t~"), max_size=400))
def test_any_markdown_gives_pieces_in_order(text: str) -> None:
    document = parsed(text)
    source = document.canonical_text.encode()
    place = 0
    for piece in pieces(document.canonical_text, document.blocks, "en"):
        assert place <= piece.byte_start < piece.byte_end <= len(source)
        source[piece.byte_start : piece.byte_end].decode()
        place = piece.byte_end


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Use `max_tokens` and **never** _this_\nline", "Use max_tokens and never this line"),
        ("See [the manual](https://example.org/a_b) or ![logo](x.png).", "See the manual or logo."),
        ("- one\n- two", "one two"),
        ("## A heading", "A heading"),
        ("snake_case_name stays", "snake_case_name stays"),
        ("a <b>bold</b> word", "a bold word"),
        ("plain  text\n", "plain text"),
        ("80 ~~euros~~ <del>pounds</del> francs", "80 francs"),
    ],
)
def test_plain_words(text: str, words: str) -> None:
    assert plain(text) == words


def test_a_long_paragraph_goes_to_the_segmenter_in_short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The segmenter takes quadratic time for this text, and holds the interpreter's lock meanwhile."""
    real, lengths = sentencex.get_sentence_boundaries, list[int]()

    def watched(language: str, text: str) -> Any:
        lengths.append(len(text))
        return real(language, text)

    monkeypatch.setattr(sentencex, "get_sentence_boundaries", watched)
    for text in ("![[" * 20_000, "`a`" * 20_000, "?[" * 30_000):
        assert "".join(sentences(text, "en")) == text
    assert max(lengths) <= 4096
    assert sum(lengths) < 1_000_000


def test_the_sentences_of_a_long_paragraph_are_whole() -> None:
    wanted = [
        f"Boat number {n} brought {n % 40} tons of herring to the harbour of Thorshaven. " for n in range(500)
    ]
    assert list(sentences("".join(wanted), "en")) == wanted


def test_beginnings_of_comments_without_an_end_are_kept() -> None:
    assert plain("one <!-- two <!-- three --> four") == "one <!-- two four"
    assert plain("`" + "<!--" * 20_000).count("<!--") == 20_000
