"""Prints the passages that an answer, a refusal or a search shows, as numbered cards. ">>" and "<<" stand around a marked cell."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Final

from responsa.chat.v1 import excerpt_pb2, turn_pb2
from responsa.type.v1 import collection_kind_pb2
from responsa_server.cli.output import one_line, print_text
from responsa_server.cli.rendering import place_parts
from responsa_server.text.why_passages import why_passages

MOST_CARDS: Final = 3
_INDENT: Final = 4
_WIDEST: Final = 100
_KINDS: Final = {
    collection_kind_pb2.COLLECTION_KIND_SAMPLE: "sample documents",
    collection_kind_pb2.COLLECTION_KIND_DOCS: "Responsa's documentation",
}


def introduction(answer: turn_pb2.TurnAnswer) -> str:
    """Say why an answer shows passages, in one line."""
    kind = turn_pb2.FALLBACK_KIND_PASSAGES
    return why_passages([fallback.cause for fallback in answer.fallbacks if fallback.kind == kind])


def print_cards(
    excerpts: Sequence[excerpt_pb2.Excerpt], *, notes: Sequence[str] = (), whole: bool = False
) -> None:
    """Print the excerpts on stdout, with a blank line before each.

    notes: what stands behind the place of each. whole: whether to print the section of each; otherwise, the cards
    of the first three.
    """
    for number, excerpt in enumerate(excerpts if whole else excerpts[:MOST_CARDS], 1):
        note = notes[number - 1] if notes else ""
        print_text("")
        print_text(f"[{number}] {path(excerpt)} ({', '.join(filter(None, (_place(excerpt), note)))})")
        lines = _lines(excerpt)
        if whole:
            lines = (excerpt.section_markdown or _mark(excerpt)).split("\n")
        print_text("\n".join(f"{' ' * _INDENT}{line}".rstrip() for line in lines))


def path(excerpt: excerpt_pb2.Excerpt) -> str:
    """Return the title of the document and the headings above the excerpt on one line, each once."""
    parts = dict.fromkeys((excerpt.title or "(untitled)", *excerpt.headings))
    return " › ".join(one_line(part, 120) for part in parts)


def _lines(excerpt: excerpt_pb2.Excerpt) -> Sequence[str]:
    """The Markdown without empty lines; on a terminal, prose is folded at its width."""
    folds = sys.stdout.isatty()
    width = min(shutil.get_terminal_size().columns, _WIDEST) - _INDENT
    lines: list[str] = []
    code = False
    for line in _mark(excerpt).split("\n"):
        code ^= line.startswith("```")
        if code or not folds or line.startswith(("|", "```")):
            lines += [line] if line.strip() else []
        else:
            lines += textwrap.wrap(line, width, break_on_hyphens=False, break_long_words=False)
    return lines


def _mark(excerpt: excerpt_pb2.Excerpt) -> str:
    if not excerpt.HasField("marked_in_markdown"):
        return excerpt.markdown
    data, mark = excerpt.markdown.encode(), excerpt.marked_in_markdown
    whole = b"%b>>%b<<%b" % (data[: mark.start], data[mark.start : mark.end], data[mark.end :])
    return whole.decode(errors="replace")


def _place(excerpt: excerpt_pb2.Excerpt) -> str:
    where = one_line(excerpt.uri or excerpt.document_version, 300)
    collection = _KINDS.get(excerpt.collection_kind) or excerpt.collection.removeprefix("collections/")
    return ", ".join((collection, *place_parts(where, excerpt)))
