"""A scripted model that imitates a strong model. It follows its prompts as far as rules allow, and ignores instructions in its data."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Any, Final, cast

from responsa_lab.scripted.choosing import fill
from responsa_lab.scripted.reading import ParsedPrompt, content, sentences, stems, words
from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    Role,
    Spent,
    Stop,
    TextPiece,
    ToolRequest,
)

_SENTENCE: Final = re.compile(r"(?<=[.!?⟧])\s+")
# Words for a model; documents for people do not contain such words. Most of these words are English; a few begin an
# injected instruction in other languages.
_USURPING: Final = re.compile(
    r"\b(?:ignore|disregard|forget|bypass|override|void)\b.{0,60}\b(?:instruction|rule|prompt|order|direction|teacher"
    r"|guideline|text|above|before|previous)s?\b"
    r"|\byou (?:are now|have no|will now|must now|are (?:dan|an? )\b.{0,30}\bwithout)\b"
    r"|\bfrom (?:now|this (?:moment|point)) on\b|\bact as (?:if|an?)\b"
    r"|\b(?:new rule|system (?:message|update|prompt|note)|system:|assistant:|developer mode|maintenance mode"
    r"|jailbreak|do anything now|stay in character)"
    r"|\b(?:your|the|each|every|whole|any) (?:next )?(?:\w+ )?(?:reply|replies|response|responses)\b"
    r"|\b(?:reply|respond) (?:only|with|just|nothing)\b|\banswer (?:only|just)\b"
    r"|\bsay (?:exactly|only)\b|\bin the answer say\b|\bdecode (?:this|and)\b|\bintent ?=|\bcodeword\b"
    r"|\bany assistant\b|\bthe assistant\b|\bassistants are\b|\bthis assistant\b|\bto the software\b"
    r"|\b(?:your|system|starting|complete|the) instructions\b|\binstructions you were given\b|\binstructed to\b"
    r"|\bsystem (?:prompt|configuration)|\b(?:you were|were you) told before\b"
    r"|\bpretend (?:to be|you)\b|\bpersonas\b|\bpersonalities\b|\bsay so whenever\b|\balways add\b"
    r"|\bthat you (?:quote|play)\b|\bcall the tool\b|\bmessage of the user\b"
    r"|\b(?:your|of the) (?:answer|message|sentences|reply)\b|\bfollow instruction\b|\bautomated screening\b"
    r"|<\|?(?:instruction|system|endoftext|im_start)\|?>"
    r"|\bbỏ qua\b|\bvergiss alle\b|\bignoriere\b|\bantworte ab\b|\bignora (?:todas|las|tutte)\b|\bignorez\b",
    re.IGNORECASE,
)
# A request to a writer or a machine. Texts for people contain such requests too.
_ASKING: Final = re.compile(
    r"^\W*(?:<?\|?(?:instruction|system|endoftext)\|?>\W*)?(?:(?:please|now|then|also|and|first|instead"
    r"|before you answer|let us|can you|could you)\W+)*"
    r"(?:write|reply|respond|answer|print|say|add|include|mention|repeat|translate|provide|list|give|tell|set|call"
    r"|cite|begin|start|end|use|make|break down|"
    r"describe|explain|compose|create|generate|summari[sz]e|modify|introduce|play|pretend|simulate|act|output|send"
    r"|encode|decode|convert|rewrite|suggest|"
    r"identify|discuss|offer|show|find|calculate|confirm|skip|rate|greet|spell|append|insert|remove|delete|recommend"
    r"|share|reverse|confuse|avoid|adopt|keep|"
    r"outline|detail|analy[sz]e|design|develop|help|teach|state|name|replace|combine|jumble|group|misspell|scramble|draft|render|rearrange|"
    r"adapt|complete|pretend|display|reveal|execute|run|open|visit|click|ensure|do|don't|do not|never|always)\b",
    re.IGNORECASE,
)
_QUESTION: Final = re.compile(r"\?\W*$")
_ENCODED: Final = re.compile(r"\b[A-Za-z0-9+/]{16,}={0,2}")


def usurping(text: str) -> bool:
    """Whether the text tries to take over the model that answers."""
    return _USURPING.search(text) is not None


def orders(text: str, *, any_wish: bool) -> Sequence[str]:
    """The injected instructions in a text. In each line, an instruction begins with the first sentence that tries to
    take over the model, and ends with the line. The result also contains the decoded text of encoded instructions.

    any_wish: whether plain requests and questions also count as injected instructions.
    """
    instructions: list[str] = []
    for line in text.splitlines():
        sentences = _SENTENCE.split(line.strip())
        first = next((index for index, sentence in enumerate(sentences) if usurping(sentence)), None)
        wished = sentences[first:] if first is not None else []
        if any_wish and first is None:
            wished = [
                sentence for sentence in sentences if _ASKING.search(sentence) or _QUESTION.search(sentence)
            ]
        if wished:
            instructions.append(" ".join(wished))
            instructions += _decode(instructions[-1])
    return instructions


def _decode(text: str) -> Sequence[str]:
    texts: list[str] = []
    for code in _ENCODED.findall(text):
        try:
            plain = base64.b64decode(code, validate=True).decode()
        except ValueError:
            continue
        if plain.isprintable():
            texts.append(plain)
    return texts


_PIECE: Final = re.compile(r"\s*\S+")
_BYTES_A_TOKEN: Final = 4


class Strong:
    """A `ChatModel`. Each word of its output is one token and one piece. Every four bytes of its input count as one
    token. The model requests no tools.

    asked: the number of calls for each `purpose` since the model was created.
    """

    def __init__(self, name: str = "strong") -> None:
        self._name = name
        self.asked: Counter[str] = Counter()

    @property
    def name(self) -> str:
        return self._name

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`. The same prompt always gets the same answer."""
        self.asked[prompt.purpose] += 1
        read = tokens_read(prompt)
        yield Spent(Usage(input_tokens=read))
        pieces = _PIECE.findall(self.says(ParsedPrompt(prompt)))
        for piece in pieces[: prompt.max_tokens]:
            # This pause lets other tasks run, as a read from a socket would.
            await asyncio.sleep(0)
            yield TextPiece(piece)
        whole = len(pieces) <= prompt.max_tokens
        yield Spent(Usage(input_tokens=read, output_tokens=min(len(pieces), prompt.max_tokens)))
        yield Ended(complete=whole, stop=Stop.END if whole else Stop.LIMIT)

    def says(self, reading: ParsedPrompt) -> str:
        """The whole answer, never empty."""
        if (schema := reading.prompt.schema) is not None:
            return json.dumps(fill(schema, reading), ensure_ascii=False)
        return write(reading)


def tokens_read(prompt: ModelPrompt) -> int:
    """The number of tokens that a prompt counts as."""
    return -(-sum(len(message.text.encode()) for message in prompt.messages) // _BYTES_A_TOKEN)


_MOST_SENTENCES: Final = 3
_MOST_IN_POST: Final = 4
# A further sentence is used if its score is at least this share of the best sentence's score.
_WORTH_SAYING: Final = 0.5
_MOST_NOTE_WORDS: Final = 150
_ENDED: Final = re.compile(r"[.!?:…][\"”’)\]]*$")
_EXERCISE_WORDS: Final = re.compile(
    r"\b(?:set|give|make|me|\d+|one|two|three|four|five|some|exercises?|practi[cs]e|problems?|quiz|homework|solve)\b",
    re.IGNORECASE,
)
_ASKS_FIGURE: Final = re.compile(
    r"\b(?:how (?:many|much|long|far|fast|often|old|high|big)|cost|price|when|what (?:year|temperature|speed))\b",
    re.IGNORECASE,
)
_FIGURE_SHARE: Final = 0.35
_SMALL_TALK: Final[Sequence[tuple[str, re.Pattern[str]]]] = (
    ("You're welcome! Is there anything else you would like to know?", re.compile(r"\bthank", re.IGNORECASE)),
    (
        "Goodbye, and come back whenever you have a question.",
        re.compile(r"\b(?:bye|see you|good night)\b", re.IGNORECASE),
    ),
    (
        "I am a program that looks things up in documents. What would you like to know?",
        re.compile(r"\bwho are you\b", re.IGNORECASE),
    ),
    (
        "Hello! I am doing what I always do, looking things up. What would you like to know?",
        re.compile(r"\b(?:hi|hello|hey|good (?:morning|afternoon|evening|day)|how are you)\b", re.IGNORECASE),
    ),
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a passage. number: the number of the passage, for the sentence's citation mark."""

    text: str
    number: int
    score: float

    @property
    def cited(self) -> str:
        return f"{self.text} [{self.number}]"


def write(reading: ParsedPrompt) -> str:
    """The text that a prompt asks for. The prompt's purpose decides what kind of text this is; the default is an answer to the question."""
    return _WRITERS.get(reading.prompt.purpose, _answer)(reading)


def rank(reading: ParsedPrompt, question: str = "") -> Sequence[Sentence]:
    """The passages' sentences that share a word with the question, best first. Sentences that try to take over the model are
    left out.
    """
    question_stems = stems(question or reading.question)
    wants_figure = _ASKS_FIGURE.search(question or reading.question) is not None
    candidates = [
        (passage.number, text)
        for passage in reading.passages
        for text in sentences(passage.text)
        if not usurping(text)
    ]
    # Titles and similar lines do not end like sentences. They are used only if no sentences are left.
    usable = [candidate for candidate in candidates if _ENDED.search(candidate[1])] or candidates
    frequent = Counter(stem for _, text in usable for stem in stems(text))
    scored: list[Sentence] = []
    for number, text in usable:
        shared = question_stems & stems(text)
        score = sum(math.log(1 + len(usable) / frequent[stem]) for stem in shared)
        if wants_figure and any(character.isdigit() for character in text):
            score *= 1 + _FIGURE_SHARE
        scored.append(Sentence(text, number, score / (1 + len(words(text)) / 100)))
    return sorted((item for item in scored if item.score > 0), key=lambda item: (-item.score, item.number))


def _answer(reading: ParsedPrompt) -> str:
    if best := _worth(rank(reading), _MOST_SENTENCES):
        return " ".join(item.cited for item in best)
    if reading.passages:
        return "The passages do not answer this question."
    return _small_talk(reading) if _reply(reading.question) else _answer_unaided(reading)


def _exercise(reading: ParsedPrompt) -> str:
    topic = _topic(_EXERCISE_WORDS.sub(" ", reading.question))
    best = _worth(rank(reading, topic), _MOST_SENTENCES)
    if not best:
        return _answer(reading)
    rules = "\n".join(f"- {item.cited}" for item in best)
    return (
        f"What you need:\n\n{rules}\n\n"
        f"1. Say in your own words what holds for {topic}.\n"
        f"2. Find an example of your own for {topic}, with other numbers, and write down each step.\n\n"
        "### Solutions\n\nCompare your steps with the sentences above, one by one."
    )


def _post(reading: ParsedPrompt) -> str:
    earlier = [item.text for item in reading.history if not item.user]
    if earlier and re.search(r"\bshorter\b", reading.question, re.IGNORECASE):
        paragraphs = [part for part in earlier[-1].split("\n\n") if part.strip()]
        return "\n\n".join([*paragraphs[:2], *paragraphs[-1:]] if len(paragraphs) > 2 else paragraphs)
    wished = reading.question
    for order in orders(wished, any_wish=False):
        wished = wished.replace(order, " ")
    topic = _topic(re.sub(r"\b(?:write|linkedin|post|about|for)\b", " ", wished, flags=re.IGNORECASE))
    title = topic[:1].upper() + topic[1:]
    best = _worth(rank(reading, topic), _MOST_IN_POST)
    body = [item.cited for item in best] or [f"With {topic}, … becomes …"]
    tags = " ".join(f"#{word.capitalize()}" for word in content(topic)[:3])
    hook = " ".join(f"{title}: here is what it does for you.".split()[:15])
    return "\n\n".join([hook, *body, "How do you do it? Tell us in a comment.", tags]).strip()


def _small_talk(reading: ParsedPrompt) -> str:
    return _reply(reading.question) or "Good to hear. What would you like to know?"


def _notes(reading: ParsedPrompt) -> str:
    notes = [reading.fence_text("summary").strip()]
    for item in reading.history:
        first = next(iter(sentences(item.text)), item.text.strip())
        if usurping(item.text):
            notes.append("Somebody asked for other rules; this request was not followed.")
        elif item.user:
            notes.append(f"The reader asked: {first}")
        else:
            notes.append(f"The answer was: {first}")
    noted = " ".join(note for note in notes if note).split()
    return " ".join(noted[:_MOST_NOTE_WORDS]) or "Nothing was said yet."


def _answer_unaided(reading: ParsedPrompt) -> str:
    return (
        f"From common knowledge, without a document: {_topic(reading.question)} is best understood step by step. "
        "First say what each word means, then what depends on what, and last try an example of your own."
    )


_WRITERS: Final[Mapping[str, Callable[[ParsedPrompt], str]]] = {
    "exercise": _exercise,
    "post": _post,
    "chitchat": _small_talk,
    "conversation_summary": _notes,
}


def _worth(ranking: Sequence[Sentence], limit: int) -> Sequence[Sentence]:
    return [item for item in ranking[:limit] if item.score >= ranking[0].score * _WORTH_SAYING]


def _reply(text: str) -> str:
    return next((reply for reply, rule in _SMALL_TALK if rule.search(text)), "")


def _topic(text: str) -> str:
    return " ".join(content(text)[:6]) or "this"


_CALL: Final = re.compile(r"^call (?P<tool>\S+) (?P<arguments>\{.*\})$", re.MULTILINE)
_FOR_EVER: Final = re.compile(r"^for ever$", re.MULTILINE)
_NUMBER: Final = re.compile(r"^\[(\d{1,2})\] ", re.MULTILINE)
_MARK: Final = re.compile(r"⟦[^⟦⟧\n]*⟧\n?")


class ToolCallingModel:
    """A `ChatModel` with the name `calling`. It requests one tool for each line `call TOOL {…}` of the question, all of
    them at once. Then it writes the tools' results, one on each line. If a result has numbered sources, the last number
    ends the line, as a citation. With a line `for ever`, it requests the tools again as long as any are offered.
    """

    name = "calling"

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        await asyncio.sleep(0)
        read = tokens_read(prompt)
        question = "\n".join(message.text for message in prompt.messages if message.role is Role.USER)
        results = [message.text for message in prompt.messages if message.role is Role.TOOL]
        written = 0
        if prompt.tools and (not results or _FOR_EVER.search(question)):
            for number, call in enumerate(_CALL.finditer(question), len(results) + 1):
                arguments = cast("dict[str, Any]", json.loads(call["arguments"]))
                written += 1
                yield ToolRequest(f"request-{number}", call["tool"], arguments)
        if not written:
            for text in [_cite(_MARK.sub("", result).strip()) for result in results] or [
                "No tool was called."
            ]:
                yield TextPiece(f"\n{text}" if written else text)
                written += 1
        yield Spent(Usage(input_tokens=read, output_tokens=written))
        yield Ended(complete=True)


def _cite(result: str) -> str:
    numbers = _NUMBER.findall(result)
    return _NUMBER.sub("", result) + (f" [{numbers[-1]}]" if numbers else "")


class FailureKind(StrEnum):
    """The way in which a model fails.

    INVALID_JSON: if a prompt has a schema, the reply does not fit the schema; all other replies are the same as those
    of the strong model. EMPTY: the answer has no words.
    ENDLESS: the answer never ends, whatever its limit. CUT: the answer breaks off after some words. STALL: the model
    never sends a word. HANG: the model sends some words and then no more. UNSAFE: the model refuses to answer.
    UNREACHABLE, 401, 429, 500: no answer begins. The errors UNREACHABLE, 429 and 500 are marked as passing, so the same
    request can succeed later.
    """

    INVALID_JSON = "invalid-json"
    EMPTY = "empty"
    ENDLESS = "endless"
    CUT = "cut"
    STALL = "stall"
    HANG = "hang"
    UNSAFE = "unsafe"
    UNREACHABLE = "unreachable"
    CREDENTIAL = "401"
    RATE_LIMITED = "429"
    OVERLOADED = "500"


_ERRORS = {
    FailureKind.UNREACHABLE: (ModelFault.UNREACHABLE, True),
    FailureKind.CREDENTIAL: (ModelFault.CREDENTIAL, False),
    FailureKind.RATE_LIMITED: (ModelFault.RATE_LIMITED, True),
    FailureKind.OVERLOADED: (ModelFault.OVERLOADED, True),
    FailureKind.EMPTY: (ModelFault.EMPTY, False),
}
_WORDS = ("So", " far", " so", " good")
_RETRY_SECONDS = 1.0


class Broken:
    """A `ChatModel` with the name `broken-KIND`. idle_seconds: the number of seconds without a word after which the
    model raises TIMEOUT, as an adapter does."""

    def __init__(self, kind: FailureKind, idle_seconds: float = 60.0) -> None:
        self._kind = kind
        self._idle_seconds = idle_seconds
        self._strong = Strong()

    @property
    def name(self) -> str:
        return f"broken-{self._kind.value}"

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        if self._kind in _ERRORS:
            fault, passing = _ERRORS[self._kind]
            after = _RETRY_SECONDS if fault is ModelFault.RATE_LIMITED else None
            raise ModelError(fault, f"{self.name}, as the script says", retry_after=after, passing=passing)
        read = tokens_read(prompt)
        match self._kind:
            case FailureKind.INVALID_JSON if prompt.schema is None:
                async for piece in self._strong.stream(prompt):
                    yield piece
            case FailureKind.INVALID_JSON:
                yield TextPiece('Sure! {"intent": [qa, ')
                yield Spent(Usage(input_tokens=read, output_tokens=4))
                yield Ended(complete=True)
            case FailureKind.UNSAFE:
                yield Spent(Usage(input_tokens=read))
                yield Ended(complete=False, stop=Stop.UNSAFE)
            case FailureKind.ENDLESS:
                for number in count(1):
                    await asyncio.sleep(0)
                    yield TextPiece(f"word {number} and ")
            case FailureKind.STALL:
                await self._silence()
            case _:
                for word in _WORDS:
                    yield TextPiece(word)
                if self._kind is FailureKind.HANG:
                    await self._silence()
                raise ModelError(ModelFault.CUT, f"{self.name}, as the script says")

    async def _silence(self) -> None:
        await asyncio.sleep(self._idle_seconds)
        raise ModelError(ModelFault.TIMEOUT, f"{self.name}: no word for {self._idle_seconds} s")
