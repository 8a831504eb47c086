"""Fills in a JSON schema for a scripted model. The values are labels and tools that rules choose, questions that make
sense without the conversation, and search queries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from responsa_lab.scripted.reading import ParsedPrompt, content, points_back, sentences, stems, words

# An example's label is used if the similarity between the example's words and the text's words is at least this value.
_ALIKE: Final = 0.6
# The share of a question's meaningful words that a sentence must contain to count as an answer.
_COVERED: Final = 0.5
_GREETING: Final = re.compile(
    (
        r"^\W*(?:hi|hello|hey|good (?:morning|afternoon|evening|night|day)|thanks?|thank you|bye|goodbye|see you"
        r"|how are you|who are you|nice|great|well done|cheers)\b"
    ),
    re.IGNORECASE,
)
# Messages about the conversation itself. A greeting together with a question counts as a question.
_TALK: Final = re.compile(
    rf"(?:{_GREETING.pattern})(?!.*\b(?:what (?:is|are)|what's|whats|why|explain|tell me"
    r"|how (?:do|does|is|many|much|long)|help with|help me with)\b)"
    r"|\b(?:your|the) last (?:answer|sentence|message)\b|\b(?:again|once more)\W*(?:please\W*)?$|\b(?:simpler|other|fewer) words\b"
    r"|^\W*(?:what (?:can|do) you (?:do|teach|help)|about yourself|tell me about you(?:rself)?\b)"
    r"|\bwhat (?:we|you|i)(?:'ve| have)? (?:talked|said|asked)\b"
    r"|^\W*(?:ok|okay|yes|no|sure|got it|i see|i understand|sorry|never mind|i'm (?:ready|tired|bored))\b[^?]{0,20}$",
    re.IGNORECASE,
)
_POST: Final = re.compile(
    r"\b(?:post|linkedin|tweet|caption|announcement|newsletter)\b|\bwrite (?:me )?(?:a|an|some) (?:text|update)\b",
    re.IGNORECASE,
)
_LINKEDIN: Final = re.compile(r"\blinkedin\b", re.IGNORECASE)
_REVISION: Final = re.compile(
    r"^\W*(?:please )?(?:make|write|turn|rewrite|shorten) (?:it|that|this)\b|\b(?:shorter|longer|punchier)\b",
    re.IGNORECASE,
)
_ERRAND: Final = re.compile(
    r"^\W*(?:please |can you |could you |would you )*(?:book|buy|order|play|set|remind|call|turn|schedule|reserve|pay"
    r"|transfer|send|open|start)\b"
    r"|\bweather (?:now|today|tomorrow|right now)\b|\b(?:diagnose|stock tip)\b",
    re.IGNORECASE,
)
_SUM: Final = re.compile(r"\d[\d.]*(?:\s*[-+*/]\s*\d[\d.]*)+")
# The first rule that fits gives the label. For labels without a rule, the examples decide.
_RULES: Final[Sequence[tuple[str, re.Pattern[str]]]] = (
    ("tool", _SUM),
    ("out_of_scope", _ERRAND),
    ("post", _POST),
    ("chitchat", _GREETING),
    ("direct", _TALK),
    (
        "exercise",
        re.compile(
            r"\b(?:exercises?|practi[cs]e|problems?|quiz|homework|solve|calculate|work out)\b", re.IGNORECASE
        ),
    ),
    (
        "check",
        re.compile(
            r"\b(?:is (?:it|that|this|my) .*(?:right|correct|true)|did i|check my|correct me|am i right)\b",
            re.IGNORECASE,
        ),
    ),
    (
        "comparison",
        re.compile(
            r"\b(?:differences?|differs?|compare[ds]?|comparison|versus|vs|better than|rather than)\b",
            re.IGNORECASE,
        ),
    ),
    ("concept", re.compile(r"^\W*(?:why|how (?:do|does|is|are|can)|explain|what is)\b", re.IGNORECASE)),
)
_TOOL: Final = re.compile(r"^- (\S+): (.+)$", re.MULTILINE)
_TOOL_RULES: Final[Mapping[str, re.Pattern[str]]] = {
    "web_search": re.compile(r"\b(?:news|latest|on the web|online)\b", re.IGNORECASE),
    "knowledge_search": re.compile(r"\b(?:our|documents?|handbook|policy)\b", re.IGNORECASE),
}
_USUAL: Final = ("qa", "retrieve", "fact")
_POINTER: Final = re.compile(
    r"\b(?:it|they|them|this|that|these|those|he|him|she|her|there)\b", re.IGNORECASE
)
_OPENING: Final = re.compile(r"^\W*(?:and|but|so|or|then|what about|how about)\b\s*", re.IGNORECASE)
_NAME: Final = re.compile(r"(?<!^)(?<![.!?] )\b[A-Z][\w-]*(?: (?:[A-Z][\w-]*|\d+))*")
_FEW: Final = 4


def fill(schema: Mapping[str, object], reading: ParsedPrompt, *, orders: Sequence[str] = ()) -> object:
    """A value that fits the schema. orders: the injected instructions. If this list is not empty and the schema has a
    text field, the value obeys the instructions instead of the rules."""
    return _value("", cast("Mapping[str, Any]", schema), _ChoiceRequest(reading, schema, orders))


def label_of(text: str, labels: Sequence[str], examples: Sequence[tuple[str, str]] = ()) -> str:
    """One of the labels: the label of an example that is nearly the same, otherwise the label of the first rule that
    fits, otherwise the label of the nearest example, otherwise the default label.
    """
    asked = stems(text) or frozenset(words(text))
    scored = [
        (_alike(asked, stems(text) or frozenset(words(text))), label)
        for text, label in examples
        if label in labels
    ]
    nearest = max(scored, key=lambda pair: pair[0], default=(0.0, ""))
    if nearest[0] >= _ALIKE:
        return nearest[1]
    for label, rule in _RULES:
        if label in labels and rule.search(text):
            return label
    if nearest[0] > 0 and not set(_USUAL) & set(labels):
        return nearest[1]
    return next((label for label in _USUAL if label in labels), labels[0])


def standalone(reading: ParsedPrompt) -> str:
    """The question in a form that can be understood without the conversation."""
    question = reading.question
    earlier = [item.text for item in reading.history if item.user and item.text.strip() != question]
    if not earlier or not (points_back(question) or len(content(question)) < _FEW):
        return question
    subject = _subject(earlier[-1])
    if _OPENING.search(question) and not _POINTER.search(question):
        rest = _OPENING.sub("", question).rstrip("?. ")
        return f"{earlier[-1].rstrip('?. ')}, {rest}?"
    if subject and _POINTER.search(question):
        return _POINTER.sub(subject, question, count=1)
    return f"{question.rstrip('?. ')} ({subject})?" if subject else question


def other_ways(question: str, limit: int = 3) -> list[str]:
    """At most `limit` search queries for the answer to the question."""
    meant = " ".join(content(question))
    first = words(question)[:1]
    turned = {"why": f"cause of {meant}", "how": f"{meant} step by step", "when": f"date of {meant}"}
    queries = [meant, turned.get(first[0] if first else "", f"definition of {meant}"), f"{meant} example"]
    return [query for query in dict.fromkeys(queries) if meant and query.lower() != question.lower()][:limit]


def tools_for(reading: ParsedPrompt, names: Sequence[str]) -> Sequence[str]:
    """The tools that a question needs, among those with these names. A tool without a rule is needed if its description
    shares a word with the question."""
    question = reading.question
    if _TALK.search(question):
        return []
    described = dict(_TOOL.findall(reading.instruction))
    chosen = [
        name
        for name in names
        if (
            rule.search(question)
            if (rule := _TOOL_RULES.get(name))
            else stems(described.get(name, "")) & stems(question)
        )
    ]
    return chosen or [name for name in names if name == "knowledge_search" and "?" in question]


class _ChoiceRequest:
    def __init__(self, reading: ParsedPrompt, schema: Mapping[str, object], orders: Sequence[str]) -> None:
        self.reading = reading
        self.definitions = cast("Mapping[str, Any]", schema.get("$defs", {}))
        self.orders = orders

    def label(self, labels: Sequence[str]) -> str:
        ordered = " ".join(self.orders).lower()
        for label in labels:
            if re.search(rf"\b{re.escape(label.lower())}\b", ordered):
                return label
        question = self.reading.question
        # This rule comes before the examples, because examples of other kinds of posts differ from the text in only one word.
        if "linkedin" in labels and _LINKEDIN.search(question):
            return "linkedin"
        if "post" in labels and self.reading.history and _REVISION.search(question):
            return "post"
        return label_of(question, labels, self.reading.examples)

    def says(self) -> str:
        return " ".join(self.orders) or standalone(self.reading)


def _value(name: str, schema: Mapping[str, Any], request: _ChoiceRequest) -> object:
    schema = _resolve(schema, request.definitions)
    if "const" in schema:
        return schema["const"]
    if labels := [label for label in schema.get("enum", ()) if isinstance(label, str)]:
        return request.label(labels)
    match schema.get("type"):
        case "object":
            # Of a tool's arguments, a question names those that are required.
            wanted = schema.get("required", ()) if name == "arguments" else None
            return {
                key: _value(key, inner, request)
                for key, inner in cast("Mapping[str, Any]", schema.get("properties", {})).items()
                if wanted is None or key in wanted
            }
        case "array":
            return _several(name, schema, request)
        case "boolean":
            return _whether(name, request)
        case "number" | "integer":
            return schema.get("minimum", 1 if name == "passage" else 0) if name != "confidence" else 1
        case _:
            limit = schema.get("maxLength")
            return request.says()[:limit]


def _several(name: str, schema: Mapping[str, Any], request: _ChoiceRequest) -> list[object]:
    inner = _resolve(schema.get("items", {}), request.definitions)
    if inner.get("type") == "string" and "enum" not in inner and ("quer" in name or "question" in name):
        limit = int(schema.get("maxItems", 3))
        return [*request.orders[:limit]] or [*other_ways(request.reading.question, limit)]
    if name == "tools" and (labels := [tool for tool in inner.get("enum", ()) if isinstance(tool, str)]):
        return list(tools_for(request.reading, labels))
    if name == "sources":
        known = inner.get("enum", ())
        asked_words = set(words(request.reading.question))
        named = [name for name in known if asked_words & set(name.split("_"))]
        return named or [name for name in _sources_of_example(request.reading) if name in known]
    return [_value(name, inner, request) for _ in range(int(schema.get("minItems", 0)))]


def _sources_of_example(reading: ParsedPrompt) -> Sequence[str]:
    """The sources of the example whose question shares most meaningful words with the question."""
    meant = stems(reading.question)
    near = [(len(meant & stems(text)), label) for text, label in reading.examples if label.startswith("{")]
    shared, label = max(near, key=lambda pair: pair[0], default=(0, ""))
    return json.loads(label).get("sources", ()) if shared else ()


def _whether(name: str, request: _ChoiceRequest) -> bool:
    question = request.reading.question
    if "follow" in name:
        return bool(request.reading.history) and points_back(question)
    if "retriev" in name or "need" in name:
        return label_of(question, ("retrieve", "direct"), request.reading.examples) == "retrieve"
    if "answer" in name or "support" in name:
        meant = stems(question)
        texts = [
            stems(sentence) for passage in request.reading.passages for sentence in sentences(passage.text)
        ]
        return any(len(meant & text) >= len(meant) * _COVERED for text in texts)
    # All other boolean fields, such as "relevant" and "in_scope", are true.
    return True


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema without references. If the schema allows several types, the result is the first type that is not null."""
    if isinstance(reference := schema.get("$ref"), str):
        return _resolve(definitions[reference.rpartition("/")[2]], definitions)
    for key in ("anyOf", "oneOf", "allOf"):
        kinds = cast("Sequence[Mapping[str, Any]]", schema.get(key, ()))
        if (first := next((kind for kind in kinds if kind.get("type") != "null"), None)) is not None:
            return _resolve(first, definitions)
    return schema


def _subject(question: str) -> str:
    """The subject of a question: a name in the question, otherwise the question's meaningful words."""
    if names := _NAME.findall(question):
        return names[-1]
    return " ".join(content(question)[-3:])


def _alike(terms: frozenset[str], other: frozenset[str]) -> float:
    return len(terms & other) / len(terms | other) if terms | other else 0.0
