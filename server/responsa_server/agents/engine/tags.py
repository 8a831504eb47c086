"""The tags of a template, found as minijinja finds them, and their bounds.

minijinja's parser calls itself for most operators and for each `elif`, without a limit, and enough of them overflow the
stack of the process. (Brackets and blocks have a limit of its own.) So every template is scanned before minijinja reads
it. The scan is one pass over the text and calls nothing recursively. It follows minijinja's lexer: where that ends with
an error, nothing behind is parsed.

Prompts of agents are filled in within the server. So they have only a part of minijinja's language, in which nothing
multiplies a text (`find_foreign`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MOST_CHARACTERS: Final = 1000
"""The maximum length of a tag."""
MOST_OPERATORS: Final = 100
"""The maximum number of operators in a tag. Filters, attributes, subscripts and calls are operators, too."""
MOST_ELIFS: Final = 50
"""The maximum number of `elif` between an `if` and its `endif`."""
MOST_REPEATED: Final = 2000
"""The maximum number of characters between a `for` of a prompt and its `endfor`."""
MOST_LOOPS: Final = 4
"""The maximum number of loops of a prompt within one another. minijinja copies what a loop goes through."""
STATEMENTS: Final = ("if", "elif", "else", "endif", "for", "endfor", "include")
"""The statements of prompts."""

# minijinja takes only these characters for white space. What is not closed ends with the text.
_SPACE: Final = r"[ \t\n\f\r]*"
_RAW: Final = rf"\{{%[-+]?{_SPACE}raw{_SPACE}[-+]?%\}}.*?(?:\{{%[-+]?{_SPACE}endraw{_SPACE}[-+]?%\}}|\Z)"
# Comments and raw text come first, so that nothing within them counts as a tag.
_OPENING: Final = re.compile(rf"\{{#[-+]?.*?(?:#\}}|\Z)|{_RAW}|(?P<tag>\{{[{{%])[-+]?", re.DOTALL)
_TOKEN: Final = re.compile(
    r"(?P<string>\"(?:\\.|[^\"\\])*+(?:\"|\\?\Z)|'(?:\\.|[^'\\])*+(?:'|\\?\Z))"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])"
    r"|(?P<operator>//|\*\*|[=!<>]=|[-+*/%~|.<>=]|\b(?:and|else|if|in|is|not|or)\b)"
    r"|\w+|.",
    re.DOTALL,
)
_WORD: Final = re.compile(r"\{%[-+]?\s*(\w+)")
_LOOP: Final = re.compile(r"\{%[-+]?\s*for\s+\w+(?:\s*,\s*\w+)*\s+in\s+\w+(?:\s*\.\s*\w+)*\s*")
# What would make a long value of short ones, and calls of what is in a variable.
_MAKING: Final = re.compile(r"[+*~{]|\[(?![\s\d,-]*\])|\.\s*\w+\s*\(|\bloop\s*\(")
# A list of numbers and texts in quotation marks. Any other comma would make a list of values.
_LITERALS: Final = re.compile(r"\[[\s\d,-]*\]")


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, from its opening to its end. start: its place in the text. code: its characters, with spaces in place of
    strings. operators: their number."""

    start: int
    code: str
    operators: int

    @property
    def statement(self) -> str:
        """The first word of a statement; "" if the tag is none."""
        match = _WORD.match(self.code)
        return "" if match is None else match[1]


@lru_cache(maxsize=1)  # several functions read the tags of a text, one after the other
def tags(text: str) -> Sequence[Tag]:
    """The tags in their order, up to the first one that minijinja cannot read to its end. One that is too long ends early."""
    return tuple(_tags(text))


def _tags(text: str) -> Iterator[Tag]:
    index = 0
    while (opening := _OPENING.search(text, index)) is not None:
        index = opening.end()
        if opening["tag"] is None:
            continue
        end = "}}" if opening["tag"] == "{{" else "%}"
        code, operators, depth = [opening[0]], 0, 0
        while index < len(text):
            if index - opening.start() > MOST_CHARACTERS:
                break
            if depth == 0 and (
                text.startswith(end, index) or (text[index] in "-+" and text.startswith(end, index + 1))
            ):
                index = text.index(end, index) + len(end)
                break
            token = _TOKEN.match(text, index)
            assert token is not None, "the last alternative matches everything"
            code.append(" " * len(token[0]) if token["string"] else token[0])
            index = token.end()
            depth += bool(token["open"]) - bool(token["close"])
            if depth < 0:
                return
            operators += bool(token["operator"] or token["open"])
        yield Tag(opening.start(), "".join(code), operators)


def find_excess(text: str) -> tuple[int, str] | None:
    """The place of the first tag beyond a bound, with what is wrong and what to do; None if the text is within all bounds."""
    elifs = [0]
    for tag in tags(text):
        if len(tag.code) > MOST_CHARACTERS:
            return (
                tag.start,
                f"a tag has more than {MOST_CHARACTERS:,} characters, or is not closed; close or split it",
            )
        if tag.operators > MOST_OPERATORS:
            return (
                tag.start,
                f"a tag has more than {MOST_OPERATORS} operators; split it",
            )
        if tag.statement == "if":
            elifs.append(0)
        elif tag.statement == "endif" and len(elifs) > 1:
            elifs.pop()
        elifs[-1] += tag.statement == "elif"
        if sum(elifs) > MOST_ELIFS:
            return tag.start, f"more than {MOST_ELIFS} “elif” are open at this tag; close some of them first"
    return None


def find_foreign(text: str) -> tuple[int, str] | None:
    """The place of the first tag that the language of prompts lacks, with what is wrong and what to do; None if there is none."""
    loops = list[int]()
    for tag in tags(text):
        word = tag.statement
        if tag.code.startswith("{%") and word not in STATEMENTS:
            return tag.start, f"prompts have no statement “{word}”; they have {', '.join(STATEMENTS)}"
        if word == "include" and loops:
            return tag.start, "an include may not stand in a loop; write the included text here"
        if word == "for" and _LOOP.fullmatch(tag.code) is None:
            return (
                tag.start,
                "a loop of a prompt has the form {% for NAME in VARIABLE %}; use a variable as it is",
            )
        if making := _MAKING.search(tag.code, 3 if tag.code[2:3] in ("+", "-") else 2):
            return (
                tag.start + making.start(),
                f"prompts have no “{making[0]}” in tags; write texts one after the other, and use “.” for what is in a variable",
            )
        if word != "for" and "," in _LITERALS.sub("", tag.code):
            return (
                tag.start,
                "a list in a tag of a prompt holds only texts and numbers, in brackets, and a filter takes one value",
            )
        if word == "for":
            loops.append(tag.start)
            if len(loops) > MOST_LOOPS:
                return (
                    tag.start,
                    f"more than {MOST_LOOPS} loops stand within one another; close one of them first",
                )
        elif word == "endfor" and loops and tag.start - loops.pop() > MOST_REPEATED:
            return tag.start, f"a loop has more than {MOST_REPEATED:,} characters; shorten it"
    return None
