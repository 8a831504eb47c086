"""Prints the passages that an answer or a refusal shows, as numbered cards. ">>" and "<<" stand around a marked cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from responsa.chat.v1 import excerpt_pb2, turn_pb2
from responsa.type.v1 import collection_kind_pb2
from responsa_server.cli.output import one_line, print_text
from responsa_server.cli.rendering import place_parts
from responsa_server.text.why_passages import why_passages

_INDENT: Final = 4
_GLANCE: Final = 120
_KINDS: Final = {
    collection_kind_pb2.COLLECTION_KIND_SAMPLE: "sample documents",
    collection_kind_pb2.COLLECTION_KIND_DOCS: "Responsa's documentation",
}


def introduction(answer: turn_pb2.TurnAnswer) -> str:
    """Say why an answer shows passages, in one line."""
    kind = turn_pb2.FALLBACK_KIND_PASSAGES
    return why_passages([fallback.cause for fallback in answer.fallbacks if fallback.kind == kind])


def print_cards(excerpts: Sequence[excerpt_pb2.Excerpt], first: int = 1) -> None:
    """Print the excerpts on stdout, with a blank line before each. first: the number of the first one."""
    for number, excerpt in enumerate(excerpts, first):
        print_text("")
        print_text(f"[{number}] {path(excerpt)} ({_place(excerpt)})")
        print_text("\n".join(f"{' ' * _INDENT}{line}".rstrip() for line in _marked(excerpt).split("\n")))


def glances(excerpts: Sequence[excerpt_pb2.Excerpt]) -> str:
    """Return the title and the beginning of each excerpt, in a line each."""
    return "\n".join(f'- {path(excerpt)}: "{one_line(excerpt.markdown, _GLANCE)}"' for excerpt in excerpts)


def path(excerpt: excerpt_pb2.Excerpt) -> str:
    """Return the title of the document and the headings above the excerpt on one line, each once."""
    parts = dict.fromkeys((excerpt.title or "(untitled)", *excerpt.headings))
    return " › ".join(one_line(part, 120) for part in parts)


def _marked(excerpt: excerpt_pb2.Excerpt) -> str:
    if not excerpt.HasField("marked_in_markdown"):
        return excerpt.markdown
    data, mark = excerpt.markdown.encode(), excerpt.marked_in_markdown
    whole = b"%b>>%b<<%b" % (data[: mark.start], data[mark.start : mark.end], data[mark.end :])
    return whole.decode(errors="replace")


def _place(excerpt: excerpt_pb2.Excerpt) -> str:
    where = one_line(excerpt.uri or excerpt.document_version, 300)
    collection = _KINDS.get(excerpt.collection_kind) or excerpt.collection.removeprefix("collections/")
    # A marked cell is the place itself; otherwise, the place is where the excerpt begins.
    goes_on = "\n" in excerpt.text.strip() and bool(excerpt.path) and not excerpt.HasField("marked_range")
    return ", ".join((collection, *place_parts(where, excerpt, goes_on=goes_on)))
