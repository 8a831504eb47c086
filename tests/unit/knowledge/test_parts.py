"""The parts of a passage that an answer may show."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import FoundPassage, Passage, PassagePiece, VectorKind
from responsa_server.ingest.formats.table import FORMATS
from responsa_server.ingest.sniff import sniff
from responsa_server.search.parts import (
    MAX_PARAGRAPH_BYTES,
    MAX_PART_BYTES,
    READ_BEFORE_BYTES,
    Part,
    PassageParts,
)
from responsa_server.text.sentences import pieces

ID = UUID(int=1)


def found(text: str, *, name: str = "page.md", cut: str = "", language: str = "en") -> FoundPassage:
    """A document as one passage, with its pieces. cut: the passage begins with the first occurrence of this text."""
    original = sniff(text.encode(), name)
    row = FORMATS.named(original.format)
    assert row is not None
    parsed = row.load()(original)
    canonical = parsed.canonical_text
    data, start = canonical.encode(), len(canonical[: canonical.index(cut)].encode())
    stored = [
        PassagePiece(VectorKind(one.kind.value), ByteRange(one.byte_start, one.byte_end), None)
        for one in pieces(canonical, parsed.blocks, language)
        if one.byte_start >= start
    ]
    passage = Passage(ID, "default", ID, 1, "", "", ByteRange(start, len(data)), data[start:].decode())
    return FoundPassage(passage, language, stored, row.media_type, data[:start].decode())


def part(one: FoundPassage, words: str) -> Part | None:
    """The part that shows the last piece with these words."""
    raw, start = one.passage.text.encode(), one.passage.source.start
    place = max(
        number
        for number, piece in enumerate(one.pieces)
        if words in raw[piece.source.start - start : piece.source.end - start].decode()
    )
    made = PassageParts(one).of(place)
    if made is not None:
        assert raw[made.source.start - start : made.source.end - start].decode() == made.text
    return made


def shown(text: str, words: str, *, name: str = "page.md", cut: str = "", language: str = "en") -> str:
    """The Markdown of the part that shows the last piece with these words; '' if no part does."""
    made = part(found(text, name=name, cut=cut, language=language), words)
    return "" if made is None else made.shown


TOWER = "The tower stands on the hill. It was built in 1712. So it is old. Bees make honey."


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("The tower", "The tower stands on the hill."),
        ("built in", "The tower stands on the hill. It was built in 1712."),
        ("So it", "The tower stands on the hill. It was built in 1712. So it is old."),
        ("Bees", "Bees make honey."),
    ],
)
def test_a_sentence_brings_the_sentences_that_it_depends_on(words: str, expected: str) -> None:
    assert shown(TOWER, words) == expected


def test_a_sentence_whose_antecedent_is_missing_or_far_is_marked() -> None:
    for text in ("# Towers\n\nIt was built in 1712.", f"{'Long ago, ' * 70}it stood. It was built in 1712."):
        made = part(found(text), "1712")
        assert made is not None
        assert (made.shown, made.complete) == ("It was built in 1712.", False)
    other = part(found("Der Turm steht. Here it is.", language="de"), "Here")
    assert other is not None
    assert (other.shown, other.complete) == ("Here it is.", True)


STEPS = """\
# Start

Do this:

1. Get the file:

   ```sh
   get it
   ```

2. Open it.

Then look.

- Wait for this:

  ```text
  done
  ```

Run this command.

```sh
start --now
```

It prints nothing. These are the limits:
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("# Start", ""),
        ("Get the", "Do this:\n\n1. Get the file:\n\n   ```sh\n   get it\n   ```\n2. Open it."),
        ("Wait for", "- Wait for this:\n\n  ```text\n  done\n  ```"),
        ("done", "- Wait for this:\n\n  ```text\n  done\n  ```"),
        ("start --now", "Run this command.\n\n```sh\nstart --now\n```"),
        ("These are", ""),
    ],
)
def test_what_announces_is_shown_with_what_it_announces_or_not_at_all(words: str, expected: str) -> None:
    assert shown(STEPS, words) == expected


def test_a_label_is_shown_with_its_list() -> None:
    assert shown("Openers\n- Turn left.\n- Push.\n", "Openers") == "Openers\n\n- Turn left.\n- Push."
    assert shown("It opens.\n- Turn left.\n", "It opens") == "It opens."


def test_an_announcement_of_something_long_is_not_shown() -> None:
    items = "".join(
        f"- Item {number} is one of many, and it is described at length.\n" for number in range(40)
    )
    assert len(items) > MAX_PART_BYTES
    assert shown(f"There are many:\n\n{items}", "There are") == ""
    assert shown(f"There are many:\n\n{items}", "Item 7 ").startswith("- Item 7 ")


TABLE = "Ports:\n\n| Port | Use |\n|---|---|\n| 80 | `http` |\n| 443 | \\*https\\* |\n\nEnd.\n"


@pytest.mark.parametrize(
    ("words", "cut", "expected"),
    [
        ("| 80", "", "**Port**: 80; **Use**: `http`"),
        ("443", "", "**Port**: 443; **Use**: \\*https\\*"),
        ("443", "| 443", "**Port**: 443; **Use**: \\*https\\*"),
        ("Port |", "", ""),
        ("Ports:", "", "Ports:\n\n| Port | Use |\n|---|---|\n| 80 | `http` |\n| 443 | \\*https\\* |"),
    ],
)
def test_a_row_has_the_names_of_its_columns_even_if_the_header_is_in_another_passage(
    words: str, cut: str, expected: str
) -> None:
    assert shown(TABLE, words, cut=cut) == expected


def test_other_formats_show_their_visible_text() -> None:
    page = (
        "<h1>Ports</h1><p>Use *one* of &lt;these&gt;.</p><table><tr><th>Port<th>Use</tr><tr><td>80<td>web</tr></table>"
        "<ul><li>First.<li>Second.</ul><pre>a  b\n  c</pre>"
    )
    assert shown(page, "Use *one*", name="page.html") == "Use \\*one\\* of \\<these>."
    assert shown(page, "80", name="page.html") == "**Port**: 80; **Use**: web"
    assert shown(page, "Port |", name="page.html") == ""
    assert shown(page, "Second", name="page.html") == "- Second."
    assert shown(page, "a  b", name="page.html") == "```\na  b\n  c\n```"
    assert shown("# no heading, 2 * 3 * 4 <b>", "2 *", name="a.txt") == "\\# no heading, 2 * 3 * 4 \\<b>"


def test_what_has_no_visible_text_is_not_shown() -> None:
    assert shown("Text.\n\n<b></b>\n", "<b>") == ""
    assert shown("Text.\n\n![](gear.svg)\n", "gear") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See [Backing up](backup.md).", ""),
        ("See also [Backing up][backup].", ""),
        ("- [Backing up](backup.md)", ""),
        ("[Backing up](backup.md) takes an hour.", "Backing up takes an hour."),
        ("Licence: [MIT](LICENSE).", "Licence: MIT."),
        ("[Jane Doe](mailto:jane@example.org).", "Jane Doe."),
        ("Website: <https://example.org>.", "Website: [https://example.org](https://example.org)."),
        ("请参阅[备份](b.md)，备份每天进行一次。", "请参阅备份，备份每天进行一次。"),
    ],
)
def test_what_only_refers_to_another_place_is_not_shown(text: str, expected: str) -> None:
    assert shown(f"Before.\n\n{text}\n\nAfter.", text.strip("- .")) == expected


def test_a_table_that_begins_before_the_text_that_was_read_has_no_known_header() -> None:
    rows = "".join(f"<tr><td>Wren<td>{'brass ' * 9}<td>blue" for _ in range(400))
    table = f"<p>All our lamps and how they are.</p><table><tr><th>Lamp<th>Material<th>Colour{rows}<tr><td>Last<td>of<td>all</table>"
    whole = found(table, name="lamps.html", cut="Last | of")
    assert len(whole.before) > READ_BEFORE_BYTES
    last = part(replace(whole, before=whole.before[-READ_BEFORE_BYTES:]), "Last")
    assert last is not None
    assert last.shown == "Last; of; all"
    near = part(replace(whole, before="Lamp | Material | Colour\n"), "Last")
    assert near is not None
    assert near.shown == "**Lamp**: Last; **Material**: of; **Colour**: all"


def test_a_sentence_is_widened_within_its_paragraph() -> None:
    sentences = [f"This is sentence {number}, which tells of the mill on the river." for number in range(12)]
    one = found(f"# Mills\n\n{' '.join(sentences)}\n\nAnother paragraph.\n\n- An item.\n- Another item.\n")
    parts = PassageParts(one)

    def widened(words: str) -> str:
        made = part(one, words)
        assert made is not None
        return parts.widened(made).text

    assert widened("sentence 0") == " ".join(sentences[:6])
    assert widened("sentence 5") == " ".join(sentences[3:9])
    assert widened("sentence 11") == " ".join(sentences[6:])
    assert len(" ".join(sentences[:6]).encode()) <= MAX_PARAGRAPH_BYTES
    assert widened("Another paragraph") == "Another paragraph."
    assert widened("An item") == "- An item."


def test_a_widened_part_has_the_sentences_that_it_refers_to() -> None:
    one = found("# Mills\n\nThe mill stops. It was built in 1712. So it is old, and it is loud. They stay.")
    last = part(one, "They stay.")
    assert last is not None
    wide = PassageParts(one).widened(last)
    assert (last.text, last.complete) == ("They stay.", False)
    assert wide.text.startswith("The mill stops.")
    assert wide.complete
