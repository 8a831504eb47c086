"""Parses a prompt for a scripted model: English words and sentences, the fences with the nonce that the instructions
name, and the text outside of the fences.

Like any model, the parser knows the marks only from the messages. A test compares the marks that the parser reads with
the marks that the engine writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from responsa_server.domain.models import ModelPrompt, PromptMessage, Provenance, Role

_WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_ENDINGS: Final = ("ing", "ed", "es", "s")
_SHORTEST_STEM: Final = 3
_SENTENCE: Final = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)\s+(?=[\"“(]?[A-Z0-9])|\n+")
_LINE_MARK: Final = re.compile(r"^(?:[-*+]|\d+\.)\s+")
_SMALL_WORDS: Final = """
    a an the and or but if so of in on at by to for from with without about into over under between as than then is
    are was were be been being am do does did has have had having will would can could shall should may might must i
    you we they he she it me my your our us them their his her its not no yes what which who whom whose when where why
    how much many more most some any there also too very just please tell explain give show say mean means this that
    these those let lets out up down here again only own other such one
"""
_SMALL: Final = frozenset(_SMALL_WORDS.split())
_POINTING: Final = re.compile(
    r"\b(it|its|they|them|their|he|him|his|she|her|this|those|these|that one|there)\b"
    r"|\bthat(?=\s*[?.!]|\s+(?:is|was|mean|work|happen|one)\b)"
    r"|^(?:and|but|or|so|then|what about|how about|why|shorter|longer|make it|more)\b[^?]{0,40}\??$",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def content(text: str) -> list[str]:
    """The meaningful words of a text in their original spelling, without repetitions."""
    unique = {word.lower(): word for word in reversed(_WORD.findall(text)) if word.lower() not in _SMALL}
    return list(reversed(unique.values()))


def stems(text: str) -> frozenset[str]:
    """The meaningful words without their endings."""
    return frozenset(_stem(word.lower()) for word in content(text))


def sentences(text: str) -> Sequence[str]:
    """The sentences of a text, without headings, list marks and lines that are not prose."""
    texts: list[str] = []
    for part in _SENTENCE.split(text):
        sentence = _LINE_MARK.sub("", part.strip())
        if sentence and not sentence.startswith(("#", "|", "```")) and _WORD.search(sentence):
            texts.append(sentence)
    return texts


def points_back(question: str) -> bool:
    """Whether a question makes no sense without the conversation."""
    return _POINTING.search(question.strip()) is not None


def _stem(word: str) -> str:
    word = re.sub(r"['’]s?$", "", word)
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    return word.rstrip("e")


_NONCE: Final = re.compile(r"⟦data … (q?[0-9a-f]{11,12})⟧ and ⟦end \1⟧")
_NUMBER: Final = re.compile(r"\[(\d+)\]\s*\Z")
_SPEAKER: Final = re.compile(r"^(user|assistant): ", re.MULTILINE)
_EXAMPLE: Final = re.compile(r"^- (.+) => (\S+|\{.*\})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fenced:
    """A text between valid marks. before: the text directly before the marks in the same message."""

    kind: str
    text: str
    before: str


@dataclass(frozen=True, slots=True)
class NumberedPassage:
    """A retrieved passage. number: the number that an answer uses to cite this passage."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class SaidMessage:
    """One message of the conversation so far. user: true if the user wrote the message, false if the model wrote it."""

    user: bool
    text: str


class ParsedPrompt:
    """A parsed prompt."""

    def __init__(self, prompt: ModelPrompt) -> None:
        self.prompt = prompt
        instruction = "\n".join(
            message.text for message in prompt.messages if message.place is Provenance.INSTRUCTION
        )
        self.instruction = instruction
        # The last match counts, because the paragraph with the marks ends the system part.
        nonce = _NONCE.findall(instruction)
        self._fence = (
            re.compile(rf"⟦data (\w+) {nonce[-1]}⟧\n(.*?)\n?⟦end {nonce[-1]}⟧", re.DOTALL) if nonce else None
        )

    @cached_property
    def fences(self) -> Sequence[Fenced]:
        """All parts that are marked as data, in order."""
        return [fence for message in self.prompt.messages for fence in self._find_fences(message)]

    def outside(self, message: PromptMessage) -> str:
        """A message's text without its fenced parts."""
        return message.text if self._fence is None else self._fence.sub("", message.text)

    @cached_property
    def passages(self) -> Sequence[NumberedPassage]:
        """The passages that may be cited."""
        passages: list[NumberedPassage] = []
        for fence in self.fences:
            if fence.kind == "passage":
                number = _NUMBER.search(fence.before)
                passages.append(NumberedPassage(int(number[1]) if number else len(passages) + 1, fence.text))
        if self._fence is None:
            texts = [
                message.text for message in self.prompt.messages if message.place is Provenance.RETRIEVED
            ]
            passages = [NumberedPassage(number, text) for number, text in enumerate(texts, 1)]
        return passages

    @cached_property
    def question(self) -> str:
        """The question: the last fence of the kind “question”, or the user's last message if there is no such fence."""
        if fenced := [fence.text for fence in self.fences if fence.kind == "question"]:
            return fenced[-1].strip()
        asked = [user.text for user in self._users]
        return asked[-1].strip() if asked else ""

    @cached_property
    def history(self) -> Sequence[SaidMessage]:
        """The conversation before the question, the oldest message first."""
        if fenced := self.fence_text("history"):
            parts = _SPEAKER.split(fenced)[1:]
            return [
                SaidMessage(who == "user", text.strip())
                for who, text in zip(parts[::2], parts[1::2], strict=True)
            ]
        users = self._users
        return [
            SaidMessage(message.role is Role.USER, self._within(message))
            for message in self.prompt.messages
            if message.place in (Provenance.USER, Provenance.MODEL)
            and message.text
            and message is not (users[-1] if users else None)
        ]

    @cached_property
    def examples(self) -> Sequence[tuple[str, str]]:
        return _EXAMPLE.findall(self.instruction)

    def fence_text(self, kind: str) -> str:
        """The text of the last fence of this kind; "" if there is no such fence."""
        return next((fence.text for fence in reversed(self.fences) if fence.kind == kind), "")

    def _within(self, message: PromptMessage) -> str:
        """The text of a message. If the whole text is between marks, the marks are left out."""
        return "\n\n".join(fence.text for fence in self._find_fences(message)) or message.text

    @property
    def _users(self) -> Sequence[PromptMessage]:
        return [message for message in self.prompt.messages if message.place is Provenance.USER]

    def _find_fences(self, message: PromptMessage) -> Sequence[Fenced]:
        if self._fence is None:
            return []
        fences: list[Fenced] = []
        after = 0
        for match in self._fence.finditer(message.text):
            fences.append(Fenced(match[1], match[2], message.text[after : match.start()]))
            after = match.end()
        return fences
