"""The text of an answer with the marks of its citations and the list of its sources, for clients that show nothing else of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from responsa.chat.v1.citation_pb2 import Citation
from responsa.chat.v1.message_pb2 import Message
from responsa.type.v1.byte_range_pb2 import ByteRange
from responsa_server.calls.convert.cited import is_list, list_sources, sources
from responsa_server.calls.numbering import Place, give_numbers, marks_of
from responsa_server.text.layout import insertions
from responsa_server.text.why_passages import without_why


class Marking:
    """Writes the marks into the parts of an answer as they are sent. What was sent never changes: a text whose
    citations come after it has no marks, and the list at the end has its sources."""

    def __init__(self) -> None:
        self._numbers: dict[Place, int] = {}
        self._made: list[tuple[int, int]] = []

    async def part(self, text: str, start: int, end: int, citations: Sequence[Citation]) -> str:
        """The characters from `start` to before `end` of the answer's text so far, with the marks within and behind
        them. citations: those that are known, in any order."""
        give_numbers(citations, self._numbers)
        marks = marks_of(text, citations, self._numbers)
        pieces, last = list[str](), start
        if any(start < at <= end for at, _ in marks):
            # The parser takes a while for some texts of models.
            for at, mark in await asyncio.to_thread(insertions, text, marks):
                if start < at <= end:
                    pieces += [text[last:at], mark]
                    self._made.append((at, len(mark)))
                    last = at
        return "".join([*pieces, text[last:end]])

    def place(self, at: int, *, ends: bool = False) -> int:
        """Where a place of the answer's text is in what was sent, both in characters. ends: whether the place is the
        end of a range, before the marks that stand there."""
        return at + sum(size for position, size in self._made if (position < at if ends else position <= at))

    def above(self, why: str) -> str:
        """What stands above the text: why it shows passages."""
        self._made.append((-1, len(why) + 2))
        return f"{why}\n\n"

    def below(
        self,
        text: str,
        citations: Sequence[Citation],
        link: Callable[[Citation], str],
        why: str = "",
        unsourced: Sequence[ByteRange] = (),
    ) -> str:
        """What follows the text: why it shows passages, "" if that stands above it or it does not, and the list of these
        sources. text: the answer. link, unsourced: see `list_sources`."""
        give_numbers(citations, self._numbers)
        written = not why and all(position >= 0 for position, _ in self._made)
        parts = [why, list_sources(text, citations, self._numbers, link, unsourced, written=written)]
        return "".join(f"\n\n{part}" for part in parts if part) + ("\n" if any(parts) else "")


def is_written(message: Message, sent: str) -> bool:
    """Whether a text is the message as a client was sent it: with each of its marks or without it, and with or without
    what stands above and below it. White space at the ends does not count."""
    text, sent = message.text.strip(), without_why(sent.strip())
    if text == sent:
        return True
    citations = sources(message.citations)
    if not citations or len(sent) < len(text) or text[:1] != sent[:1]:
        return False
    numbers = dict[Place, int]()
    give_numbers(citations, numbers)
    # A mark stands at the same place of the text that was stripped, or at its end.
    before = len(message.text) - len(message.text.lstrip())
    last = at = 0
    for position, mark in insertions(message.text, marks_of(message.text, citations, numbers)):
        piece = text[last : position - before]
        if not sent.startswith(piece, at):
            return False
        at, last = at + len(piece), position - before
        if sent.startswith(mark, at):
            at += len(mark)
    if not sent.startswith(text[last:], at):
        return False
    rest = without_why(sent[at + len(text) - last :].strip())
    return not rest or is_list(rest)
