"""A scripted model that imitates a strong model. It follows its prompts as far as rules allow, and ignores instructions in its data."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from responsa_lab.scripted.choosing import filled
from responsa_lab.scripted.orders import orders, usurping
from responsa_lab.scripted.reading import Reading, content, sentences, stems, words
from responsa_server.domain.events import Usage
from responsa_server.domain.models import Ended, ModelPiece, ModelPrompt, Spent, Stop, TextPiece

_PIECE: Final = re.compile(r"\s*\S+")
_BYTES_A_TOKEN: Final = 4


class Strong:
    """A `ChatModel`. Each word of its output is one token and one piece. Every four bytes of its input count as one token. The model requests no tools.

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
        pieces = _PIECE.findall(self.says(Reading(prompt)))
        for piece in pieces[: prompt.max_tokens]:
            # This pause lets other tasks run, as a read from a socket would.
            await asyncio.sleep(0)
            yield TextPiece(piece)
        whole = len(pieces) <= prompt.max_tokens
        yield Spent(Usage(input_tokens=read, output_tokens=min(len(pieces), prompt.max_tokens)))
        yield Ended(complete=whole, stop=Stop.END if whole else Stop.LIMIT)

    def says(self, reading: Reading) -> str:
        """The whole answer, never empty."""
        if (schema := reading.prompt.schema) is not None:
            return json.dumps(filled(schema, reading), ensure_ascii=False)
        return written(reading)


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
        """The sentence with its citation mark."""
        return f"{self.text} [{self.number}]"


def written(reading: Reading) -> str:
    """The text that a prompt asks for. The prompt's purpose decides what kind of text this is; the default is an answer to the question."""
    return _WRITERS.get(reading.prompt.purpose, _answer)(reading)


def ranked(reading: Reading, question: str = "") -> Sequence[Sentence]:
    """The passages' sentences that share a word with the question, best first. Sentences that try to take over the model are
    left out.
    """
    asked = stems(question or reading.question)
    wants_figure = _ASKS_FIGURE.search(question or reading.question) is not None
    candidates = [
        (passage.number, text)
        for passage in reading.passages
        for text in sentences(passage.text)
        if not usurping(text)
    ]
    # Titles and similar lines do not end like sentences. They are used only if no sentences are left.
    found = [candidate for candidate in candidates if _ENDED.search(candidate[1])] or candidates
    frequent = Counter(stem for _, text in found for stem in stems(text))
    scored: list[Sentence] = []
    for number, text in found:
        shared = asked & stems(text)
        score = sum(math.log(1 + len(found) / frequent[stem]) for stem in shared)
        if wants_figure and any(character.isdigit() for character in text):
            score *= 1 + _FIGURE_SHARE
        scored.append(Sentence(text, number, score / (1 + len(words(text)) / 100)))
    return sorted((one for one in scored if one.score > 0), key=lambda one: (-one.score, one.number))


def _answer(reading: Reading) -> str:
    if best := _worth(ranked(reading), _MOST_SENTENCES):
        return " ".join(one.cited for one in best)
    if reading.passages:
        return "The passages do not answer this question."
    return _small_talk(reading) if _reply(reading.question) else _unaided(reading)


def _exercise(reading: Reading) -> str:
    topic = _topic(_EXERCISE_WORDS.sub(" ", reading.question))
    best = _worth(ranked(reading, topic), _MOST_SENTENCES)
    if not best:
        return _answer(reading)
    rules = "\n".join(f"- {one.cited}" for one in best)
    return (
        f"What you need:\n\n{rules}\n\n"
        f"1. Say in your own words what holds for {topic}.\n"
        f"2. Find an example of your own for {topic}, with other numbers, and write down each step.\n\n"
        "### Solutions\n\nCompare your steps with the sentences above, one by one."
    )


def _post(reading: Reading) -> str:
    earlier = [one.text for one in reading.history if not one.user]
    if earlier and re.search(r"\bshorter\b", reading.question, re.IGNORECASE):
        paragraphs = [one for one in earlier[-1].split("\n\n") if one.strip()]
        return "\n\n".join([*paragraphs[:2], *paragraphs[-1:]] if len(paragraphs) > 2 else paragraphs)
    wished = reading.question
    for order in orders(wished, any_wish=False):
        wished = wished.replace(order, " ")
    topic = _topic(re.sub(r"\b(?:write|linkedin|post|about|for)\b", " ", wished, flags=re.IGNORECASE))
    title = topic[:1].upper() + topic[1:]
    best = _worth(ranked(reading, topic), _MOST_IN_POST)
    body = [one.cited for one in best] or [f"With {topic}, … becomes …"]
    tags = " ".join(f"#{one.capitalize()}" for one in content(topic)[:3])
    hook = " ".join(f"{title}: here is what it does for you.".split()[:15])
    return "\n\n".join([hook, *body, "How do you do it? Tell us in a comment.", tags]).strip()


def _small_talk(reading: Reading) -> str:
    return _reply(reading.question) or "Good to hear. What would you like to know?"


def _notes(reading: Reading) -> str:
    notes = [reading.fenced("summary").strip()]
    for one in reading.history:
        first = next(iter(sentences(one.text)), one.text.strip())
        if usurping(one.text):
            notes.append("Somebody asked for other rules; this request was not followed.")
        elif one.user:
            notes.append(f"The reader asked: {first}")
        else:
            notes.append(f"The answer was: {first}")
    kept = " ".join(note for note in notes if note).split()
    return " ".join(kept[:_MOST_NOTE_WORDS]) or "Nothing was said yet."


def _unaided(reading: Reading) -> str:
    return (
        f"From common knowledge, without a document: {_topic(reading.question)} is best understood step by step. "
        "First say what each word means, then what depends on what, and last try an example of your own."
    )


_WRITERS: Final[Mapping[str, Callable[[Reading], str]]] = {
    "exercise": _exercise,
    "post": _post,
    "chitchat": _small_talk,
    "conversation_summary": _notes,
}


def _worth(found: Sequence[Sentence], most: int) -> Sequence[Sentence]:
    return [one for one in found[:most] if one.score >= found[0].score * _WORTH_SAYING]


def _reply(text: str) -> str:
    return next((reply for reply, rule in _SMALL_TALK if rule.search(text)), "")


def _topic(text: str) -> str:
    return " ".join(content(text)[:6]) or "this"
