"""Prints the passages that an answer or a refusal shows, as numbered cards, with ">" before the likeliest sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from responsa.chat.v1 import excerpt_pb2, turn_pb2
from responsa.type.v1 import byte_range_pb2, collection_kind_pb2
from responsa_server.cli.output import one_line, print_text
from responsa_server.cli.rendering import dated, place_within

_INDENT: Final = 4
_GLANCE: Final = 120
_KINDS: Final = {
    collection_kind_pb2.COLLECTION_KIND_SAMPLE: "sample documents",
    collection_kind_pb2.COLLECTION_KIND_DOCS: "Responsa's documentation",
}
_GRADES: Final = {
    excerpt_pb2.EXCERPT_GRADE_PERHAPS: "Perhaps: ",
    excerpt_pb2.EXCERPT_GRADE_CLOSEST: "Less likely: ",
}
_CAUSES: Final = {
    "no_model": "No language model is configured.",
    "declined": "The language model found no answer.",
    "uncited": "The language model wrote nothing that the documents support.",
}
_ITEM: Final = re.compile(r"[\s>]*+(?:(?:[-*+•]|\d{1,9}[.)])\s++)?[^\w\s]*+")
"""What may stand before a sentence in its line without being a part of the text: the mark of a list or a quote, and opening marks."""


def introduction(answer: turn_pb2.TurnAnswer) -> str:
    """Say why an answer shows passages, in one line."""
    best = "These passages of your documents fit best."
    causes = [
        fallback.cause for fallback in answer.fallbacks if fallback.kind == turn_pb2.FALLBACK_KIND_PASSAGES
    ]
    if not causes:
        return best
    cause = causes[-1]
    if why := _CAUSES.get(cause):
        return f"{why} {best}"
    if cause.startswith("budget:"):
        return f"An answer by the language model would exceed a limit. {best}"
    # Such as "model_unavailable:rate_limited".
    fault = one_line(cause.rpartition(":")[2].replace("_", " "), 80)
    return f"The language model is not available at the moment{f' ({fault})' if fault else ''}. {best}"


def print_cards(excerpts: Sequence[excerpt_pb2.Excerpt], first: int = 1, *, of_refusal: bool = False) -> None:
    """Print the excerpts on stdout, with a blank line before each. first: the number of the first one. of_refusal: whether a refusal shows them, whose heading says their grade."""
    for number, excerpt in enumerate(excerpts, first):
        grade = "" if of_refusal else _GRADES.get(excerpt.grade, "")
        heading = f"[{number}] {grade}{path(excerpt)} ({_place(excerpt)})"
        print_text("")
        print_text(heading)
        print_text("\n".join(_lines(excerpt.markdown, _marked(excerpt))))


def glances(excerpts: Sequence[excerpt_pb2.Excerpt]) -> str:
    """Return the title and the marked sentence of each excerpt, in a line each."""
    return "\n".join(f'- {path(excerpt)}: "{one_line(_quote(excerpt), _GLANCE)}"' for excerpt in excerpts)


def path(excerpt: excerpt_pb2.Excerpt) -> str:
    """Return the title of the document and the headings above the excerpt on one line, each once."""
    parts = dict.fromkeys((excerpt.title or "(untitled)", *excerpt.headings))
    return " › ".join(one_line(part, 120) for part in parts)


def _place(excerpt: excerpt_pb2.Excerpt) -> str:
    source = excerpt.source_range
    where = one_line(excerpt.uri or excerpt.document_version, 300)
    collection = _KINDS.get(excerpt.collection_kind) or excerpt.collection.removeprefix("collections/")
    return f"{collection}, {where}, {dated(excerpt)}{place_within(excerpt)}bytes {source.start}-{source.end}"


def _quote(excerpt: excerpt_pb2.Excerpt) -> str:
    if mark := _marked(excerpt):
        return excerpt.markdown[slice(*mark)]
    start = excerpt.source_range.start
    marked = excerpt.marked_range
    return excerpt.text.encode()[marked.start - start : marked.end - start].decode(errors="replace")


def _marked(excerpt: excerpt_pb2.Excerpt) -> tuple[int, int] | None:
    """The characters of the marked sentence in the Markdown; None if the Markdown does not contain it in one piece."""
    if not excerpt.HasField("marked_in_markdown"):
        return None
    data = excerpt.markdown.encode()
    marked: byte_range_pb2.ByteRange = excerpt.marked_in_markdown
    start, end = (len(data[:at].decode(errors="ignore")) for at in (marked.start, marked.end))
    return (start, end) if start < end else None


def _lines(markdown: str, mark: tuple[int, int] | None) -> Iterator[str]:
    """The lines of a text, indented; ">" stands before those of the mark. A sentence of a paragraph gets its own lines."""
    if mark is None:
        yield from (_line(line, marked=False) for line in markdown.split("\n"))
        return
    # Imported late, because it loads the Markdown parser, which only a mark needs.
    from responsa_server.cli.layout import Kind, blocks_of

    start, end = mark
    number = markdown.count("\n", 0, start)
    block = next((block for block in blocks_of(markdown) if block.first <= number < block.end), None)
    before, sentence = markdown[:start], markdown[start:end].rstrip()
    after = markdown[start + len(sentence) :]
    if block is not None and block.kind is Kind.PARAGRAPH:
        if not _ITEM.fullmatch(before.rpartition("\n")[2]):
            before = before.rstrip() + "\n"
        if re.match(r"[^\n]*\w", after):
            after = "\n" + after.lstrip()
    first = before.count("\n")
    last = first + sentence.count("\n")
    for index, line in enumerate((before + sentence + after).split("\n")):
        yield _line(line, marked=first <= index <= last)


def _line(line: str, *, marked: bool) -> str:
    return f"{'  > ' if marked else ' ' * _INDENT}{line}".rstrip()
