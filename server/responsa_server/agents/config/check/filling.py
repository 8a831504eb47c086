"""Whether a prompt can be filled in whatever a turn brings: filters and tests that there are, nothing asked of a text that it has not, and no value that breaks it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from responsa_server.agents.config.check.memory import Memory
from responsa_server.agents.config.check.problems import Problem, meant
from responsa_server.agents.engine.prompts import PromptError, PromptSet

_FILTERS: Final = (
    *("abs", "attr", "batch", "bool", "capitalize", "chain", "default", "dictsort", "escape", "first"),
    *("float", "format", "groupby", "indent", "int", "items", "join", "last", "length", "lines", "list"),
    *("lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "safe"),
    *("select", "selectattr", "slice", "sort", "split", "string", "sum", "title", "tojson", "trim"),
    *("unique", "upper", "urlencode"),
)
_TESTS: Final = (
    *("boolean", "defined", "divisibleby", "endingwith", "even", "false", "float", "integer", "iterable"),
    *("lower", "mapping", "none", "number", "odd", "sequence", "startingwith", "string", "true"),
    *("undefined", "upper"),
)
"""To suggest; whether there is one is asked of the engine."""

FULL: Final[Mapping[str, object]] = {
    "most": 3,
    "passages": 2,
    "questions": ("What is it?",),
    "categories": ("one", "two"),
    "tags": ("#one",),
    "examples": ({"text": "What is it?", "label": "one"},),
    "quotes": ({"text": "It is here.", "number": 1},),
}
"""Variables that are no texts, with something in them."""
EMPTY: Final[Mapping[str, object]] = {
    **dict.fromkeys(("persona", "language", "formats", "without_retrieval", "teacher", "title"), ""),
    **dict.fromkeys(("history", "summary", "parameters"), ""),
    "passages": 0,
    "tags": (),
    "quotes": (),
}
"""Those that may have nothing in them."""
_TEXT: Final = "x"

_RAW: Final = re.compile(r"\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}|\{#.*?#\}", re.DOTALL)
_TAG: Final = re.compile(
    r"""\{(?:\{|%)(?P<inside>(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^"'])*?)(?:\}|%)\}""", re.DOTALL
)
_TEXTS: Final = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""", re.DOTALL)
_FILTER: Final = re.compile(r"\|\s*(?P<name>[A-Za-z_]\w*)|\A[-+]?\s*filter\s+(?P<block>[A-Za-z_]\w*)")
_TEST: Final = re.compile(r"\bis\s+(?:not\s+)?(?P<name>[A-Za-z_]\w*)")

_SOUND: Final = Memory[tuple[object, ...], bool](1024)
"""Prompts in which nothing was wrong: their texts, the variables, the questions of the agent, and whether they are for people."""


def filling(
    prompts: PromptSet, name: str, variables: frozenset[str], questions: Sequence[str], *, told: bool
) -> Iterator[Problem]:
    """Problems of a prompt that is whole otherwise. variables: that it uses; questions: of the agent; told: whether people read it, who must be told something."""
    texts = tuple(prompts.texts(name))
    mark = (texts, variables, tuple(questions), told)
    if _SOUND.get(mark) is not None:
        return
    found = [*_words(prompts, texts), *_members(prompts, name, variables)]
    found = found or list(_filled(prompts, name, variables, questions, told=told))
    if not found:
        _SOUND.put(mark, True)
    yield from found


def _words(prompts: PromptSet, texts: Sequence[tuple[str, int, str]]) -> Iterator[Problem]:
    """Filters and tests that are not there, also where no value that is tried leads to them."""
    for file, first, text in texts:
        plain = _RAW.sub(_blank, text)
        for tag in _TAG.finditer(plain):
            inside = _TEXTS.sub(_blank, tag["inside"])
            for pattern, test in ((_FILTER, False), (_TEST, True)):
                for one in pattern.finditer(inside):
                    word = one["name"] or one["block"]
                    if not prompts.knows(word, test=test):
                        what, known = ("test", _TESTS) if test else ("filter", _FILTERS)
                        at = tag.start("inside") + one.start()
                        yield Problem(
                            file,
                            f"the template is broken: there is no {what} “{word}”",
                            (),
                            meant(word, known),
                            first + plain.count("\n", 0, at),
                        )


def _blank(found: re.Match[str]) -> str:
    return "".join("\n" if one == "\n" else " " for one in found.group())


def _members(prompts: PromptSet, name: str, variables: frozenset[str]) -> Iterator[Problem]:
    for path in prompts.members(name):
        variable, _, member = path.partition(".")
        if variable in variables:
            uses = prompts.variables(name)
            file, line = prompts.where(name, path, system=variable in uses.system)
            yield Problem(
                file,
                f"the template is broken: “{variable}” is {_kind(variable)} and has no “{member}”; write {{{{ {variable} }}}} alone",
                line=line,
            )


def _kind(variable: str) -> str:
    value = FULL.get(variable, _TEXT)
    return "a text" if isinstance(value, str) else "a number" if isinstance(value, int) else "a list"


def _filled(
    prompts: PromptSet, name: str, variables: frozenset[str], questions: Sequence[str], *, told: bool
) -> Iterator[Problem]:
    """What goes wrong with values such as a turn brings: all there, none of those that may be missing, and each of these missing alone."""
    full: dict[str, object] = {one: FULL.get(one, _TEXT) for one in variables}
    if "questions" in full:
        full["questions"] = tuple(questions)
    may_lack = sorted(variables & set(EMPTY))
    tries: list[list[str]] = [[], may_lack, *([one] for one in may_lack)]
    for lacking in tries:
        values = {**full, **{one: EMPTY[one] for one in lacking}}
        where = f" where {' and '.join(f'“{one}”' for one in lacking)} {'is' if len(lacking) == 1 else 'are'} empty"
        where = where if lacking else ""
        try:
            text = prompts.fill(name, values)
        except PromptError as error:
            why = error.message.replace("`", "“", 1).replace("`", "”", 1)
            yield Problem(
                error.file, f"the template is broken: it cannot be filled in{where}: {why}", line=error.line
            )
            return
        if told and not text.strip():
            yield Problem(prompts.file(name), f"the template says nothing{where}; there must be some text")
            return
