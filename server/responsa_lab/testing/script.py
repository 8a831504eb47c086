"""The testing agent's script and its results. All results are pure functions of the question's text.

A question consists of words `key=value`, for example `tokens=64 pace_ms=20 tool=once tool_ms=200 seed=1`. All keys have
defaults (see `Script`)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from time import monotonic
from typing import Final

from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.models import PromptMessage
from responsa_server.domain.tools import Effect

_TEXT: Final = """
the of and to in a is that it was for on are as with his they at be this from have or by one had not but what all were when we there can
an your which their said if do will each about how up out them then she many some so these would other into has more two like him see time
could no make than first been its who now people my made over did down only way find use water long little very after words called just
where most know river harbour bridge lantern copper granite orchard meadow window letter engine signal winter journey island market
naïve façade café Zürich Straße Übergang Ærø smörgåsbord Łódź señor coração élève œuvre Ångström þing garçon piñata jalapeño Malmö Köln
Ελλάδα θάλασσα νησί λόγος Москва река зима мост дорога письмо Київ шлях Ereván Երևան თბილისი ירושלים שלום القاهرة نهر مدينة दिल्ली नदी
東京 水曜日 京都 図書館 北京 长江 学习 서울 바다 학교 ภาษาไทย แม่น้ำ 🌍 🚲 🎻 👩‍🚀 ½ ≤ → “quoted” — e.g. 1,024"""
WORDS: Final = tuple(_TEXT.split())


TOOLS: Final[Mapping[Effect, str]] = {Effect.ONCE: "record-once", Effect.IDEMPOTENT: "record-idempotent"}
"""The testing agent's tools, by the effect of a repeated call."""
TOOL_CALL_TOKENS: Final = 8
"""The number of tokens that the model's request for a tool counts as."""
MODEL: Final = "scripted"
"""The name of the model, whether it runs with or without a server."""
_WORDS_A_SENTENCE: Final = 12


class ToolFailure(StrEnum):
    """How a tool call fails after it has had its effect. ERROR: the tool responds with 500. CUT: the tool closes the
    connection without a response."""

    NONE = "none"
    ERROR = "error"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Script:
    """The instructions for the testing agent. All times are in milliseconds.

    tokens: the number of words in the answer, from 1 to 2000. Each word is one chunk. The first word comes after
    first_ms, and then one word every pace_ms.
    opening: the number of words before the tool call. tool: the tool to call; the call takes tool_ms. tool_fail: how
    this call fails. seed: chooses the words.
    fail_after: the number of answer words after which the model's server cuts the connection. stall_after: the number
    of answer words after which the server sends no more words. For both, -1 means never.
    note: any text without a space, to distinguish questions.
    """

    tokens: int = 64
    pace_ms: int = 20
    first_ms: int = 0
    opening: int = 0
    tool: Effect = Effect.NONE
    tool_ms: int = 0
    tool_fail: ToolFailure = ToolFailure.NONE
    seed: int = 1
    fail_after: int = -1
    stall_after: int = -1
    note: str = ""

    @property
    def question(self) -> str:
        plain = Script()
        words = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(plain, field.name)
        ]
        return " ".join(words) or f"tokens={self.tokens}"


_MOST: Final[Mapping[str, tuple[int, int]]] = {
    "tokens": (1, 2000),
    "pace_ms": (0, 60_000),
    "first_ms": (0, 600_000),
    "opening": (0, 200),
    "tool_ms": (0, 600_000),
    "seed": (0, 2**31 - 1),
    "fail_after": (-1, 2000),
    "stall_after": (-1, 2000),
}
_CHOICES: Final[Mapping[str, type[StrEnum]]] = {"tool": Effect, "tool_fail": ToolFailure}


def parse(question: str) -> Script:
    """The script in a question's text. Raises InvalidRequest if a key is unknown or occurs twice, or if its value is not in range."""
    values: dict[str, object] = {}
    for word in question.split():
        key, equals, value = word.partition("=")
        if not equals or key in values:
            raise _nonsense(f"“{word[:80]}” is not key=value, or its key is given twice")
        if key in _MOST:
            least, limit = _MOST[key]
            number = int(value) if value.removeprefix("-").isdecimal() and len(value) <= 11 else None
            if number is None or not least <= number <= limit:
                raise _nonsense(f"{key} is a whole number from {least} to {limit}")
            values[key] = number
        elif key in _CHOICES:
            known = [choice.value for choice in _CHOICES[key]]
            if value not in known:
                raise _nonsense(f"{key} is one of {', '.join(known)}")
            values[key] = _CHOICES[key](value)
        elif key == "note":
            values[key] = value
        else:
            raise _nonsense(f"there is no key “{key[:80]}”; there are {', '.join(_KEYS)}")
    if not values:
        raise _nonsense("there is nothing to do")
    return Script(**values)  # pyright: ignore[reportArgumentType] - the tables above ensure that each value has its field's type


_KEYS: Final = tuple(field.name for field in fields(Script))


def _nonsense(what: str) -> InvalidRequest:
    return InvalidRequest.of_field(
        "text", "testing.script", f"{what}. The testing agent takes a script, e.g. tokens=64 pace_ms=20"
    )


def token(seed: int, index: int) -> str:
    """The word at the index `index` (from 0) in a seed's endless text, with the space or the paragraph break before the word."""
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=4).digest()
    word = WORDS[int.from_bytes(digest, "big") % len(WORDS)]
    within = index % _WORDS_A_SENTENCE
    if within == 0:
        word = word[0].upper() + word[1:]
        lead = "" if index == 0 else "\n\n" if index % (4 * _WORDS_A_SENTENCE) == 0 else " "
        return lead + word
    return f" {word}." if within == _WORDS_A_SENTENCE - 1 else f" {word}"


def opening_tokens(script: Script) -> Sequence[str]:
    """The model's text before the tool call, chunk by chunk."""
    return [token(script.seed, index) for index in range(script.opening)]


def answer_tokens(script: Script) -> Sequence[str]:
    """The text of the model's answer, chunk by chunk."""
    return [token(script.seed, index) for index in range(script.opening, script.opening + script.tokens)]


class ScriptedCut(Exception):
    """The script cuts the model's answer at this point."""


async def speak(script: Script, *, decides: bool) -> AsyncGenerator[str]:
    """The model's words, each at its time: the opening if the model decides, otherwise the answer. Waits for ever if
    the script stalls the model.

    Raises ScriptedCut if the script cuts the answer.
    """
    due = monotonic() + script.first_ms / 1000
    for index, text in enumerate(opening_tokens(script) if decides else answer_tokens(script)):
        if not decides and index == script.fail_after:
            raise ScriptedCut
        if not decides and index == script.stall_after:
            await asyncio.Event().wait()
        # The time of each word is computed from the start, so that delays do not add up. Other tasks can run even if
        # there is no pause.
        await asyncio.sleep(max(0.0, due - monotonic()))
        due += script.pace_ms / 1000
        yield text


def golden_text(script: Script) -> str:
    """The whole text of the answer."""
    return "".join([*opening_tokens(script), *answer_tokens(script)])


def tool_arguments(script: Script) -> Mapping[str, object]:
    """The arguments of the model's tool request."""
    return {"note": f"seed-{script.seed}", "pause_ms": script.tool_ms, "fail": script.tool_fail.value}


def tool_body(arguments: Mapping[str, object]) -> bytes:
    """The body of the sink's response to a call with these arguments, even if the status is 500."""
    return json.dumps({"recorded": arguments.get("note")}, separators=(",", ":")).encode()


def read_tokens(messages: Sequence[PromptMessage]) -> int:
    """The number of input tokens of these messages: one for each word."""
    return sum(len(message.text.split()) for message in messages)
