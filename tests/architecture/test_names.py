"""Names of the server say what they are: functions begin with a verb, bindings are nouns, and a name has one class."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.instance import ROOT

LEFT: Final = Path(__file__).with_name("names.txt")
"""The names that are left. The list only shrinks: `python -m tests.architecture.test_names` writes it again."""
NOUNLESS: Final = frozenset({"one", "place", "most", "said", "given", "kept", "found", "made"})
"""Bindings that do not say what they hold."""
ED: Final = frozenset(
    {"bed", "embed", "exceed", "feed", "need", "proceed", "seed", "shed", "speed", "succeed"}
)
"""Verbs and nouns that end like a participle."""
PARTICIPLES: Final = re.compile(
    r"begun|bound|broken|brought|built|caught|chosen|cut|dealt|done|drawn|driven|felt|found|given|gone|grown|had|heard|held|hidden|"
    r"kept|known|laid|led|left|lent|lost|made|meant|met|paid|put|rebuilt|rewritten|said|seen|sent|shown|sought|spent|stood|stuck|"
    r"taken|thought|thrown|told|torn|understood|undone|withdrawn|withheld|won|wound|written"
)
VERBS: Final = frozenset(
    {
        "bring",
        "cut",
        "embed",
        "exceed",
        "feed",
        "need",
        "ping",
        "proceed",
        "put",
        "seed",
        "shed",
        "speed",
        "string",
        "succeed",
    }
)
"""Verbs, and nouns for converters, that look like a participle."""


FORMAT_TERMS: Final = {"_Chunk", "_Delta", "_Function", "_Object", "_Part", "_Style", "_Usage"}
"""The classes that several formats name alike, each in its adapter. The set only shrinks."""


def is_participle(name: str) -> bool:
    first = name.strip("_").split("_")[0]
    return first not in VERBS and (PARTICIPLES.fullmatch(first) is not None or first.endswith(("ed", "ing")))


def bad_names(node: ast.AST, scope: str) -> Iterator[tuple[str, str]]:
    """The bad names below a node, each with its scope. Properties, predicates (-> bool) and context managers may be participles."""
    for child in ast.iter_child_nodes(node):
        inner = scope
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                inner = f"{scope}.{child.name}".lstrip(".")
                decorators = " ".join(map(ast.unparse, child.decorator_list))
                is_property = "property" in decorators or "contextmanager" in decorators
                is_predicate = child.returns is not None and ast.unparse(child.returns) == "bool"
                if is_participle(child.name) and not is_property and not is_predicate:
                    yield scope, child.name
            case ast.ClassDef():
                inner = f"{scope}.{child.name}".lstrip(".")
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) if name in NOUNLESS:
                yield scope, name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) if name in NOUNLESS:
                yield scope, name
            case _:
                pass
        yield from bad_names(child, inner)


def names_left() -> Counter[str]:
    lines: Counter[str] = Counter()
    for path in sorted((ROOT / "server").rglob("*.py")):
        file = path.relative_to(ROOT / "server")
        for scope, name in bad_names(ast.parse(path.read_text(encoding="utf-8")), ""):
            lines[f"{file} {scope or '-'} {name}"] += 1
    return lines


def test_bad_names_only_become_fewer() -> None:
    frozen = Counter(LEFT.read_text(encoding="utf-8").splitlines())
    left = names_left()
    assert sorted((left - frozen).elements()) == [], (
        "begin functions with a verb, and name bindings by their noun"
    )
    assert sorted((frozen - left).elements()) == [], "fewer are left: python -m tests.architecture.test_names"


def test_a_name_has_one_class() -> None:
    # As text: parsing all files takes seconds of CPU time.
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "server").rglob("*.py"))
    classes = Counter(
        name for text in texts for name in re.findall(r"^ *class (\w+)[(:]", text, re.MULTILINE)
    )
    assert {name for name, count in classes.items() if count > 1} == FORMAT_TERMS


if __name__ == "__main__":
    LEFT.write_text("".join(f"{line}\n" for line in sorted(names_left().elements())), encoding="utf-8")
