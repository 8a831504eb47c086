"""Draws sentences that people read, so that a new reader can mark those that must be read twice (docs/house.md).

Usage: python tools/draw_sentences.py SEED [COUNT]

Prints COUNT sentences (200 if not given), each with its file and line. 55 % come from the pages, 17 % from the comments of the contract, 23 % from messages, help and the page, and 5 % from docstrings.
"""

from __future__ import annotations

import ast
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SHARES: Final = {"page": 0.55, "contract": 0.17, "message": 0.23, "docstring": 0.05}
SUFFIXES: Final = {".md", ".proto", ".ts", ".html", ".py"}
NOT_SAID: Final = ("evals/", "generated/", "tests/", "server/responsa_server/agents/shipped/")
_END: Final = re.compile(r"(?<=[.!?:])\s+(?=[“(\[`*A-Z])")
_STRING: Final = re.compile(r"""(["'`])((?:(?!\1)[^\\\n]|\\.)+)\1""")
_FEWEST_WORDS: Final = 5

Place = tuple[str, int, str]
"""A file, a line that counts from 1, and a sentence."""


def sentences(path: str) -> Iterator[tuple[str, Place]]:
    """The sentences of a file, each with its kind."""
    text = (ROOT / path).read_text(encoding="utf-8")
    match Path(path).suffix:
        case ".md":
            read = ("page", _paragraphs(re.sub(r"(?ms)^ *```.*?^ *```", _blank, text)))
        case ".proto":
            comments = re.sub(r"(?m)^(?![ \t]*//).*$", "", text)
            read = ("contract", _paragraphs(re.sub(r"(?m)^[ \t]*// ?", "", comments)))
        case ".ts" | ".html":
            strings = ((text.count("\n", 0, one.start()) + 1, one[2]) for one in _STRING.finditer(text))
            read = ("message", ((line, said) for line, said in strings if re.match("[A-Z“]", said)))
        case _:
            for kind, line, said in _python(ast.parse(text)):
                for one in _split(said):
                    yield kind, (path, line, one)
            return
    for line, paragraph in read[1]:
        for one in _split(paragraph):
            yield read[0], (path, line, one)


def _blank(fence: re.Match[str]) -> str:
    return "\n" * fence[0].count("\n")


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Paragraphs, items of lists and cells of tables."""
    for block in re.finditer(r"(?:^(?!\s*$).*\n?)+", text, re.MULTILINE):
        line = text.count("\n", 0, block.start()) + 1
        for part in re.split(r"(?m)^\s*(?:[-*]|\d+\.)\s|^\s*\||\|(?=\s)|^#+ .*$", block[0]):
            yield line, part


def _python(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    nodes = list(ast.walk(tree))
    docstrings = {id(one.value) for one in nodes if isinstance(one, ast.Expr)}
    in_formats = {id(part) for one in nodes if isinstance(one, ast.JoinedStr) for part in one.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "message", node.lineno, "".join(_part(one) for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in in_formats:
            yield "docstring" if id(node) in docstrings else "message", node.lineno, node.value


def _part(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "…"


def _split(text: str) -> Iterator[str]:
    for one in _END.split(" ".join(text.split())):
        words = re.findall(r"[A-Za-z’']{2,}", one)
        if len(words) >= _FEWEST_WORDS and not re.search(r"[{}=;\\]|\bSELECT\b", one):
            yield one


def main() -> None:
    """Prints the sentences."""
    seed, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True, text=True)
    found = dict[str, list[Place]]()
    for path in listed.stdout.splitlines():
        if Path(path).suffix in SUFFIXES and not path.startswith(NOT_SAID):
            for kind, place in sentences(path):
                found.setdefault(kind, []).append(place)
    dice = random.Random(seed)
    for kind, share in SHARES.items():
        for path, line, sentence in sorted(dice.sample(found[kind], round(count * share))):
            print(f"{path}:{line}: {sentence}")


if __name__ == "__main__":
    main()
