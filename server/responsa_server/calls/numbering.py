"""How citations are numbered and marked in a text, for all readers who see only the text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence

from responsa.chat.v1.citation_pb2 import Citation, CitationDifference

Place = tuple[str, int, int]
"""A document version or a tool's source, and the first and last byte of a quote."""


def place_of(citation: Citation) -> Place:
    """The place that a citation quotes."""
    result = citation.tool_result
    source = citation.document_version or f"{result.call_id}/{result.source_index}"
    return source, citation.source_range.start, citation.source_range.end


def words_instead(citation: Citation, difference: CitationDifference) -> str:
    """What the source has in place of what differs; "" if it has nothing, or not in the quote."""
    start = difference.source_range.start - citation.source_range.start
    end = difference.source_range.end - citation.source_range.start
    quote = citation.quote.encode()
    return quote[start:end].decode(errors="ignore") if 0 <= start < end <= len(quote) else ""


def in_order(citations: Iterable[Citation]) -> Sequence[Citation]:
    """The citations in the order of the text."""
    return sorted(citations, key=lambda citation: (citation.answer_range.end, citation.answer_range.start))


def give_numbers(citations: Iterable[Citation], numbers: MutableMapping[Place, int]) -> None:
    """Give a number to each cited place that has none, from 1 in the order of the text. Citations of one place share its number."""
    for citation in in_order(citations):
        numbers.setdefault(place_of(citation), len(numbers) + 1)


def characters(text: bytes, at: int) -> int:
    """The offset in characters of an offset in bytes, which is moved to the end of a character that it lies in."""
    at = max(0, min(at, len(text)))
    while at < len(text) and text[at] & 0xC0 == 0x80:
        at += 1
    return len(text[:at].decode())


def marks_of(
    text: str, citations: Iterable[Citation], numbers: Mapping[Place, int]
) -> Sequence[tuple[int, str]]:
    """The mark of each citation, such as [1], with the offset, in characters, behind the text that cites, in the order of the text."""
    data = text.encode()
    return [
        (characters(data, hit.answer_range.end), f"[{numbers[place_of(hit)]}]") for hit in in_order(citations)
    ]
