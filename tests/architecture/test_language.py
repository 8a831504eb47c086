"""Keeps the commonest oblique forms out of docs, comments, messages and the page. CONTRIBUTING has the rules."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate

import pytest

from tests.instance import ROOT

BETTER = {
    r"\b(is|are|was|were|be|been|being|gets?) told\b": "say “reports”, “sends” or “asks” with its subject",
    r"\b(?<!here )(is|are|was|were) none\b": "repeat the noun: “is not a UUID”, “has no UUID”",
    r"\b(?<!here )(is|are|was|were) no (?!longer\b|more\b|less\b|better\b|worse\b|match\b)": "say “is not a …”",
    r"\b(have|has|had|names?|needs?|gives?|gave|knows?|finds?|found|takes?|holds?|leaves?) none[.,;:)]": "repeat the noun",
    r"\bby which\b": "begin a second sentence, or say “that”",
    r"\banew\b": "say “again”",
    r"\bof (its|their) own\b": "say “its own …”",
    r"\bso many (seconds|milliseconds|minutes|hours|days|bytes|times|characters|tokens|of)\b": "name the number",
    r"\bbeside\b": "say “next to”, “with” or “also”",
    r"\b(is|are) to be\b": "say “must be”, “will be” or “should be”",
    r"\bmay well\b": "say “may” or “can”",
    r"(^|[.:;] )Who (is|has|wants|asks|comes|leaves|takes|gives|reads|writes|may|must)\b(?![^.]*\?)": "name the person or the part",
    r"\bthose who\b": "name the people or the parts",
    r"\bwhat (is|was|were|are) meant\b": "name the thing",
    r"(^|[.:;] )(Not|Nor|Never|Only then) \w+ (is|are|was|were)\b": "begin with the subject",
}
"""Maps the regular expression of each oblique form to advice on what to write instead. A space in an expression also matches the end of a line."""

ALLOWED = re.compile(r"(#|//|--|<!--) language: \S")
"""A line with this mark may contain an oblique form. The mark gives the reason."""

FORMS = re.compile("|".join(f"(?:{form})" for form in BETTER))
MARKS = re.compile(r"""(?i:\b[bfru]{1,2})?["']+|[#>*]|//|--""")
"""Whatever `prose` takes for a blank, and more."""

KINDS = frozenset({"md", "html", "proto", "py", "sql", "toml", "ts", "yaml"})
NOT_PROSE = (
    "evals/",
    "generated/",
    "samples/",
    "tests/architecture/test_language.py",
    "tests/cases/golden/",
    "tests/fixtures/documents/",
)
"""Data, generated files, and this file, which lists the forms."""


SHIPPED = "server/responsa_server/agents/shipped/"
"""The prompts and samples in this folder are content of agent versions and collections, not texts about the product."""


def tracked() -> Iterator[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True, text=True)
    for path in listed.stdout.splitlines():
        shipped = path.startswith(SHIPPED) and path.endswith(".md")
        if path.rpartition(".")[2] in KINDS and not path.startswith(NOT_PROSE) and not shipped:
            yield path


def prose(path: str, text: str) -> str:
    """`text` in which blanks replace everything except English. Each character keeps its offset."""
    if not path.endswith(".py"):
        return re.sub(r"(?m)^[ \t]*(//|--|#+|\*|>)", lambda found: " " * len(found[0]), text)
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    kept = [char if char.isspace() else "|" for char in text]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            start, end = (starts[line - 1] + column for line, column in (token.start, token.end))
            kept[start:end] = re.sub(
                r"""^#|^\w*["']+|["']+$""", lambda found: " " * len(found[0]), text[start:end]
            )
    return re.sub(r"(?m)^([ \t]*)#", r"\1 ", "".join(kept))


def oblique(path: str, text: str) -> Iterator[str]:
    # Finding the texts in code takes long. Most files hold no form even if all their code is read as English.
    if not FORMS.search(" ".join(MARKS.sub(" ", text).split())):
        return
    words = list(re.finditer(r"\S+", prose(path, text)))
    read = " ".join(word[0] for word in words)
    ends = list(accumulate(len(word[0]) + 1 for word in words))
    lines = text.splitlines()
    for form, better in BETTER.items():
        for found in re.finditer(form, read):
            line = text.count("\n", 0, words[bisect(ends, found.end() - 1)].start())
            if not ALLOWED.search(lines[line]):
                yield f"{path}:{line + 1}: “{found[0]}”: {better}"


def test_texts_are_plain_english() -> None:
    found = [hit for path in tracked() for hit in oblique(path, (ROOT / path).read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.md", "The name is no\nUUID."),
        ("a.py", 'raise Wrong("the name is "\n    "no UUID")\n'),
        ("a.py", 'raise Wrong("the name is no"\n    " UUID")\n'),
        ("a.py", "# The caller is\n# told.\n"),
        ("a.py", 'x = f"{name} is no {kind}"\n'),
        ("a.sql", "-- A table of\n-- its own.\n"),
        ("a.ts", "// Not kept are names.\n"),
    ],
)
def test_an_oblique_form_is_found(path: str, text: str) -> None:
    assert list(oblique(path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "told = is_none(who)\n"),
        ("a.py", 'x = ["is", "no cat"]\n'),
        ("a.md", "There is no limit. It is no longer sent."),
        ("a.py", "# is told  # language: a quotation\n"),
    ],
)
def test_plain_english_passes(path: str, text: str) -> None:
    assert not list(oblique(path, text))
