"""Citations as data for protocols that know no messages of the contract."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from responsa.chat.v1.citation_pb2 import Citation, DifferenceKind, JudgeVerdict, QuoteOrigin
from responsa.chat.v1.turn_pb2 import FallbackKind, TurnAnswer, TurnRefused
from responsa.type.v1.byte_range_pb2 import ByteRange
from responsa_formats.text.languages import language_of
from responsa_server.calls.numbering import Place, give_numbers, in_order, marks_of, place_of, words_instead
from responsa_server.text.disarming import disarm_quoted
from responsa_server.text.layout import with_marks
from responsa_server.text.why_passages import tell_unchecked, why_passages


def sources(cited: Iterable[Citation]) -> Sequence[Citation]:
    """The citations that are sources of an answer: those that no model that judges has denied."""
    return [citation for citation in cited if citation.verdict != JudgeVerdict.JUDGE_VERDICT_DENIED]


def checks_of(text: str, citation: Citation) -> dict[str, Any]:
    """How the quote of a citation came about, what a model that judges says of it, and what differs. text: the answer,
    in whose characters the differences are. A difference has the words of the source if the quote has them."""
    data = text.encode()
    return {
        "quote_origin": QuoteOrigin.Name(citation.quote_origin).removeprefix("QUOTE_ORIGIN_").lower(),
        "verdict": JudgeVerdict.Name(citation.verdict).removeprefix("JUDGE_VERDICT_").lower(),
        "differences": [
            {
                "kind": DifferenceKind.Name(difference.kind).removeprefix("DIFFERENCE_KIND_").lower(),
                **_range(data, difference.answer_range),
                "source": disarm_quoted(words_instead(citation, difference)),
            }
            for difference in citation.differences
        ],
    }


def citations(text: str, cited: Sequence[Citation]) -> Sequence[Mapping[str, Any]]:
    """The sources of an answer. text: the answer. `start` and `end` are in its characters, the end exclusive."""
    data = text.encode()
    return [
        {
            "title": citation.title,
            "uri": citation.uri,
            "document": citation.document_version,
            "passage": citation.passage,
            "page": citation.page,
            "locator": citation.locator,
            "quote": disarm_quoted(citation.quote),
            **checks_of(text, citation),
            **_range(data, citation.answer_range),
        }
        for citation in sources(cited)
    ]


def _range(data: bytes, span: ByteRange) -> Mapping[str, int]:
    return {"start": len(data[: span.start].decode()), "end": len(data[: span.end].decode())}


_UNTITLED: Final = "document"
_TITLE: Final = 120
_FIRST_WORDS: Final = 60
_MARKUP: Final = re.compile(r"[\\`*_\[\]<>&|~$!]|:(?=//)")
_ADDRESS: Final = "%/:?#@!$&'*+,;=~-._"
"""The characters of an address that Markdown cannot take for the end of a link."""
_WORDS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    "de": ("Quellen", "Seite", "„{}“", "Ohne Quelle"),
    "en": ("Sources", "page", "“{}”", "Without a source"),
}
"""The heading of a list of sources, what stands before a page's number, a quote, and the sentences without a source, by language."""


def list_sources(
    text: str,
    citations: Sequence[Citation],
    numbers: Mapping[Place, int],
    link: Callable[[Citation], str],
    unsourced: Sequence[ByteRange] = (),
    *,
    written: bool = True,
) -> str:
    """The sources of an answer as Markdown, to stand below its text; "" without citations. One line each, with the
    number of its marks, its title and its page, and with the first words of the quote if another source has the title.
    Below them the sentences of the text that name none.

    text: the answer, whose language the list has if it is German, else English. link: the address of a source, "" for
    none. written: whether a model has written the text; if no other has judged it, the last line says so. Titles and
    addresses are those of documents: nothing in them makes markup.
    """
    if not citations:
        return ""
    language = language_of(text)
    heading, page, quoted, none = _WORDS.get(language, _WORDS["en"])
    first = {numbers[place_of(citation)]: citation for citation in reversed(in_order(citations))}
    titles = {number: _plain(citation.title, _TITLE) or _UNTITLED for number, citation in first.items()}
    often = Counter(titles.values())
    lines: list[str] = []
    for number, citation in sorted(first.items()):
        named = f", {page} {citation.locator or citation.page}" if citation.page else ""
        line = f"{number}. {_link_to(titles[number], link(citation))}{named}"
        words = _plain(citation.quote, _FIRST_WORDS) if often[titles[number]] > 1 else ""
        lines.append(f"{line}: {quoted.format(words)}" if words else line)
    data = text.encode()
    bare = [
        _plain(data[span.start : span.end].decode(), _TITLE) for span in unsourced if span.end <= len(data)
    ]
    lines += ["", f"{none}: {' '.join(map(quoted.format, bare))}"] if bare else []
    if written and any(
        cited.quote and cited.verdict == JudgeVerdict.JUDGE_VERDICT_NONE for cited in citations
    ):
        lines += ["", f"*{tell_unchecked(language)}*"]
    return "\n".join([f"{heading}:", "", *lines])


def why(answer: TurnAnswer) -> str:
    """Why an answer shows passages of documents, in one line; "" for one that a language model wrote."""
    kind = FallbackKind.FALLBACK_KIND_PASSAGES
    causes = [fallback.cause for fallback in answer.fallbacks if fallback.kind == kind]
    return why_passages(causes, language_of(answer.text)) if answer.excerpts else ""


def with_sources(answer: TurnAnswer) -> str:
    """An answer with its marks, above it why it shows passages, and below it the list of its sources. Parses the text,
    which takes up to a second."""
    text, cited = answer.text, sources(answer.citations)
    numbers = dict[Place, int]()
    give_numbers(cited, numbers)
    above = why(answer)
    below = list_sources(
        text, cited, numbers, lambda each: web_address(each.uri), answer.unsourced, written=not above
    )
    marked = with_marks(text, marks_of(text, cited, numbers))
    return "\n\n".join(filter(None, [above, marked, below]))


def with_passages(refused: TurnRefused) -> str:
    """The message of a refusal, and below it the passages that came closest."""
    shown = [
        f"**{_plain(excerpt.title, _TITLE)}**\n\n"
        + disarm_quoted(excerpt.markdown).replace("\n", "\n> ").join(("> ", ""))
        for excerpt in refused.excerpts
    ]
    return "\n\n".join((refused.message, *shown))


def is_list(text: str) -> bool:
    """Whether a text begins as a list of sources does."""
    return text.startswith(tuple(f"{heading}:\n\n1. " for heading, *_ in _WORDS.values()))


def web_address(uri: str) -> str:
    """The address of a document if it is one on the web, else ""."""
    return uri if uri.startswith(("https://", "http://")) else ""


def _plain(text: str, limit: int) -> str:
    """At most this many characters of a text, in one line, in which nothing makes markup."""
    line = " ".join("".join(char for char in text if char.isprintable() or char.isspace()).split())
    cut = line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
    return _MARKUP.sub(lambda match: f"\\{match.group()}", cut)


def _link_to(title: str, address: str) -> str:
    return f"[{title}]({quote(address, safe=_ADDRESS)})" if address else title
