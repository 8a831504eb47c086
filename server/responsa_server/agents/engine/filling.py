"""Takes the arguments of tools from a message, by rules and without a model. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any, Final, cast

from responsa_server.agents.engine.arithmetic import expressions
from responsa_server.agents.engine.calling import fits
from responsa_server.agents.engine.timing import Arguments, dates, timed, zones
from responsa_server.domain.tools import ToolCard

CALCULATOR: Final = "calculator"
TIME: Final = "time"
WEB_SEARCH: Final = "web_search"
KNOWLEDGE_SEARCH: Final = "knowledge_search"
_MOST_CHARACTERS: Final = 2000
_MOST_CALLS: Final = 4
_MOST_QUERY: Final = 400


@dataclass(frozen=True, slots=True)
class Message:
    """What a user says. text: the message itself. full: the message in words that need no earlier messages. now: the current time, with its zone.
    follows: whether the message goes on with the request of an earlier one ("and in Rome?"). around: the whole message if the text is a clause with a pronoun, whose values may stand elsewhere in it; else "".
    """

    text: str
    full: str
    now: datetime
    follows: bool = False
    around: str = ""


def filled(kind: str, card: ToolCard, message: Message) -> Sequence[Arguments]:
    """The arguments of the calls of a tool that a message asks for; empty if the message does not have all required arguments. kind: the tool's kind."""
    text, full = message.text[:_MOST_CHARACTERS], message.full[:_MOST_CHARACTERS]
    cut = Message(text, full, message.now, message.follows, message.around[:_MOST_CHARACTERS])
    return _RULES.get(kind, _by_schema)(card, cut)


def _searched(card: ToolCard, message: Message) -> Sequence[Arguments]:
    query = search_words(message.full)
    return [{"query": query}] if any(one.casefold() not in _ALSO for one in re.findall(r"\w+", query)) else []


# After the words that ask for a search, these say nothing to search for ("Can you search the web, too?").
_ALSO: Final = frozenset(("as", "well", "too", "also", "please", "now", "again"))
_LEAD: Final = re.compile(
    r"""^(?:(?:hi|hello|hey|please|pls|can|could|would|will|you|kindly|just|quickly|i|want|to|know|tell|me|for|us|the|a)\b[\s,]*)*
    (?:search|google|look|check|find|browse)\b(?:\s+(?:out|up|me|for|that|it|on|in|at|online|the|web|internet|net|our|documents|files|whether|if)\b)*[\s?!.:,]*""",
    re.IGNORECASE | re.VERBOSE,
)
_TAIL: Final = re.compile(
    r"[\s,]{0,4}(?:\b(?:please|pls|for\s+me|online|(?:on|in)\s+the\s+(?:web|internet|net))\b[\s,.!?]{0,4})+$",
    re.IGNORECASE,
)


def search_words(question: str) -> str:
    """The question without the words that ask for a search, at most 400 characters."""
    text = " ".join(question.split())
    shorter = _TAIL.sub("", _LEAD.sub("", text, count=1)).strip(' ,:;"“”')
    return shorter[:_MOST_QUERY].strip()


# What stands in quotation marks is not asked.
_QUOTED: Final = re.compile(r"[\"“„][^\"“”„]*[\"”“]")


def _computed(card: ToolCard, message: Message) -> Sequence[Arguments]:
    found = expressions(_QUOTED.sub(" ", message.text))
    if not found and message.follows:
        # "And with 15 %?" computes the question before with another percentage.
        given, before = _PERCENTAGE.findall(message.text), message.full.removesuffix(message.text)
        if len(given) == 1 and len(_PERCENTAGE.findall(before)) == 1:
            found = expressions(_PERCENTAGE.sub(given[0], before))
    return [{"expression": one} for one in found]


_PERCENTAGE: Final = re.compile(r"\d+(?:\.\d+)? ?(?:%|per ?cent\b)", re.IGNORECASE)


def _timed(card: ToolCard, message: Message) -> Sequence[Arguments]:
    text = _QUOTED.sub(" ", message.text)
    if message.around and _DAY_OF_IT.search(text):
        # "How many days are there until 24 December, and what weekday is it?"
        named = dict.fromkeys(dates(_QUOTED.sub(" ", message.around), message.now.date()))
        if len(named) == 1:
            return [{"time": one.isoformat()} for one in named]
    return timed(text, message.full, message.now, follows=message.follows)


_DAY_OF_IT: Final = re.compile(
    r"\b(?:what|which)\s+(?:week)?day(?:\s+of\s+the\s+week)?\s+(?:is|was|will)\s+(?:it|that)(?:\s+be)?\W*$",
    re.IGNORECASE,
)


# Any other tool: its schema says what stands in the message.

_TOKEN: Final = re.compile(r"[^\s,;!?()\"“”]+")
# A time, a date or a fraction is not a number.
_PLAIN_NUMBER: Final = re.compile(
    r"(?<![\w.,:/-])-?\d+(?:\.\d+)?(?![\w%]|[.,:/-]\d|\s?(?:am|pm|a\.m\.|p\.m\.|o['’]?clock)(?!\w))",
    re.IGNORECASE,
)


def _by_schema(card: ToolCard, message: Message) -> Sequence[Arguments]:
    properties, required = _properties(card)
    values = dict[str, Sequence[object]]()
    # A message that goes on with the question before may leave out a value that stands there, and so may a clause with a pronoun.
    elsewhere = message.full if message.follows else message.around or message.text
    before = Message(elsewhere, elsewhere, message.now)
    for name, schema in properties.items():
        found = list(_values(schema, message)) or list(_values(schema, before))
        if name in required:
            if not found:
                return []
            values[name] = found
        elif len(found) == 1 and ("enum" in schema or "pattern" in schema):
            values[name] = found
    numeric = [name for name in values if properties[name].get("type") in ("number", "integer")]
    if len(numeric) > 1 or any(len(values[name]) > 1 for name in numeric):
        return []  # which number is which is not known
    calls = [dict(zip(values, one, strict=True)) for one in product(*values.values())]
    return calls if len(calls) <= _MOST_CALLS else []


def _properties(card: ToolCard) -> tuple[Mapping[str, Mapping[str, Any]], Sequence[str]]:
    properties, required = card.parameters.get("properties"), card.parameters.get("required")
    given: Mapping[str, Any] = (
        cast("Mapping[str, Any]", properties) if isinstance(properties, Mapping) else {}
    )
    listed: Sequence[object] = (
        cast("Sequence[object]", required) if isinstance(required, list | tuple) else ()
    )
    names = [one for one in listed if isinstance(one, str)]
    # A required parameter that is not described cannot be filled.
    found: dict[str, Mapping[str, Any]] = {name: {} for name in names}
    found |= {name: cast("Mapping[str, Any]", one) for name, one in given.items() if isinstance(one, Mapping)}
    return found, names


def needs_value(card: ToolCard) -> bool:
    """Whether a tool needs a value that a message must name, such as the number of an order: a message that has one can hardly mean anything else."""
    properties, required = _properties(card)
    return any("pattern" in properties[name] or "enum" in properties[name] for name in required)


def takes_choice(card: ToolCard) -> bool:
    """Whether a tool needs one of a few values, such as one of the company's towns."""
    properties, required = _properties(card)
    return any("enum" in properties[name] for name in required)


def takes_pattern(card: ToolCard) -> bool:
    """Whether a tool needs a text of a certain form, such as the number of an order."""
    properties, required = _properties(card)
    return any("pattern" in properties[name] for name in required)


def names_place(text: str) -> bool:
    """Whether a message names a place."""
    return _AT_PLACE.search(text) is not None or bool(zones(text))


_AT_PLACE: Final = re.compile(r"\b(?:in|at|for|near|around)\s+(?:the\s+)?[A-Z][a-z]+")


def _values(schema: Mapping[str, Any], message: Message) -> Iterator[object]:
    """The values for a parameter that stand in the message, or the one value that it can have."""
    if "const" in schema:
        yield schema["const"]
    elif isinstance(choices := schema.get("enum"), list):
        yield from _standing(cast("list[object]", choices), message.text)
    elif schema.get("type") in ("number", "integer"):
        yield from _numbers(schema, message.text)
    elif schema.get("format") == "date":
        yield from (one.isoformat() for one in dates(message.text, message.now.date()))
    elif "pattern" in schema:
        yield from _matching(schema, message.text)
    elif "default" in schema:
        yield schema["default"]


def _standing(choices: Sequence[object], text: str) -> Iterator[object]:
    """The choices that stand in a text, or else those that stand in it with a mistake or a final s ("edinbrugh", "bristols")."""
    folded, words = text.casefold(), [one for one in choices if isinstance(one, str)]
    exact = [one for one in words if re.search(rf"(?<!\w){re.escape(one.casefold())}(?!\w)", folded)]
    written = set(re.findall(r"[^\W\d_]+", folded))
    yield from exact or [one for one in words if any(_misspelt(one.casefold(), each) for each in written)]


def _misspelt(name: str, written: str) -> bool:
    """Whether a word is a name of at least six letters with one letter too many or too few, or with two neighbours exchanged."""
    if len(name) < _LEAST_MISSPELT or abs(len(name) - len(written)) > 1 or name[0] != written[0]:
        return False
    short, long = sorted((name, written), key=len)
    if len(short) == len(long):
        return any(
            short[:at] + short[at + 1] + short[at] + short[at + 2 :] == long for at in range(len(short) - 1)
        )
    return any(long[:at] + long[at + 1 :] == short for at in range(len(long)))


_LEAST_MISSPELT: Final = 6


def _numbers(schema: Mapping[str, Any], text: str) -> Iterator[object]:
    for found in dict.fromkeys(_PLAIN_NUMBER.findall(text)):
        value = float(found) if "." in found else int(found)
        if fits(schema, value):
            yield value


def _matching(schema: Mapping[str, Any], text: str) -> Iterator[object]:
    """The words with a digit that fit a pattern. A pattern without digits fits too many words."""
    seen = set[str]()
    for found in _TOKEN.finditer(text):
        word = found.group().rstrip(".:'’")
        if not any(character.isdigit() for character in word):
            continue
        for one in (word, word.upper()):
            if one not in seen and fits(schema, one):
                seen.add(one)
                yield one
                break


_RULES: Final[Mapping[str, Callable[[ToolCard, Message], Sequence[Arguments]]]] = {
    CALCULATOR: _computed,
    TIME: _timed,
    WEB_SEARCH: _searched,
    KNOWLEDGE_SEARCH: _searched,
}
