"""Times every regular expression of the server on texts that are made from its own parse tree. Prints what is too slow
as JSON lines; the last line counts.

Usage: python pattern_attacks.py [--whole] [PATTERN ...]

Each repeated part of a pattern gives texts of 16 KiB: what leads to the part, the part again and again, and an end that
does not fit. Such texts make a pattern that backtracks try every division of the text, and make a search begin again at
every character. A separate process does this, because a pattern holds the interpreter's lock, and because the patterns
are recorded while the modules are imported. Patterns that are given are searched instead.

Without --whole, each pattern gets six of its texts, and a text whose first 4 KiB take less than 0.5 ms is done:
quadratic work would take 4 ms at least.
"""

from __future__ import annotations

import ast
import gc
import importlib
import inspect
import json
import pkgutil
import re
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any, Final, TypeAlias

import responsa_formats
import responsa_server

parser: Any = importlib.import_module("re._parser")  # the standard library's, without stubs

SMALL: Final = 4 << 10
LARGE: Final = 16 << 10
QUICK: Final = 0.0005
"""Seconds at 4 KiB below which the growth is not measured."""
NOISE: Final = 0.005
"""Seconds at 16 KiB below which the quotient says nothing."""
MOST_GROWTH: Final = 8.0
GUARD: Final = 0.5
"""Seconds that no text may take at all."""
MOST_WHOLE: Final = 0.05
"""Seconds at 16 KiB that no text may take with --whole."""
MOST_ATTACKS: Final = 6

CALLS: Final = ("compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer")
BUILT: Final[dict[str, dict[str, object]]] = {
    "responsa_server.agents.engine.prompts": {"variable": "question"},
    "responsa_server.calls.convert.chat": {"words": ("ab", "a.b")},
    "responsa_server.calls.services.paging": {"pattern": "a(?>.*?b)(?>.*?c).*d"},
    "responsa_server.cli.markdown": {"brackets": "()"},
    "responsa_server.domain.names": {"kind": "Feedback"},
    "responsa_server.text.quantities": {"figure": "1"},
    "responsa_server.search.differing": {
        "word": "abc",
        "sentence": "a1",
        "span": (0, 2),
        "words": {"affirmed": ["no more than", "no,"]},
    },
    "responsa_server.tools.endpoint": {"self": SimpleNamespace(hidden=("q7Vx-2k9",))},
}
"""Values for the local names of patterns that functions build."""
CUT: Final = {
    "agents.engine.citations:_COPIED": 300,
    "responsa_formats.parsers.number_formats:_TOKEN": 300,
    "search.differing:_BEGINS": 8,
    "responsa_formats.text.canonical:_UNSEEN": 2_400,
}
"""The greatest length of a pattern's texts, where the line that uses it cuts them."""

Items: TypeAlias = Sequence[Any]
"""A part of a parse tree: pairs of an operation and its argument."""


@dataclass(frozen=True)
class Attack:
    """A text of any length: `lead`, `unit` again and again, and `tail`. If `leads`, half of the text is the lead again and again."""

    lead: str
    unit: str
    tail: str
    leads: bool = False

    def text(self, size: int) -> str:
        """The text of about `size` characters."""
        lead = self.lead * (size // 2 // len(self.lead)) if self.leads else self.lead
        return lead + self.unit * ((size - len(lead) - len(self.tail)) // len(self.unit)) + self.tail


# Which patterns there are


def patterns() -> dict[re.Pattern[Any], tuple[str, set[str]]]:
    """The patterns that modules compile when they are imported, and those in calls within functions.

    Each with its place (the module, and its name or line) and the methods that use it; none if they are not known.
    """
    recorded: dict[tuple[str, int], list[re.Pattern[Any]]] = {}
    original = re.compile

    def compile_(pattern: Any, flags: int = 0) -> re.Pattern[Any]:
        compiled = original(pattern, flags)
        frame = inspect.currentframe()
        caller = frame.f_back if frame is not None else None
        if caller is not None:
            recorded.setdefault((caller.f_code.co_filename, caller.f_lineno), []).append(compiled)
        return compiled

    re.compile = compile_
    try:
        names = (
            module.name
            for package in (responsa_formats, responsa_server)
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        )
        modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    finally:
        re.compile = original
    trees = [
        (module, list(ast.walk(ast.parse(Path(str(module.__file__)).read_text())))) for module in modules
    ]
    everywhere: dict[str, set[str]] = {}
    for _, nodes in trees:
        for name, methods in used(nodes).items():
            everywhere.setdefault(name, set()).update(methods)
    places: dict[re.Pattern[Any], tuple[str, set[str]]] = {}
    for module, nodes in trees:
        within, names_of = used(nodes), assigned(nodes)
        short = module.__name__.removeprefix("responsa_server.")
        for node in nodes:
            if (
                not isinstance(node, ast.Call)
                or not isinstance(node.func, ast.Attribute)
                or node.func.attr not in CALLS
                or ast.unparse(node.func.value) != "re"
            ):
                continue
            name = names_of.get(node, "")
            methods = {ast.unparse(node.func).removeprefix("re.")}
            if methods == {"compile"}:
                uses = within if name.startswith("_") else everywhere
                methods = uses.get(name, set())
            for pattern in recorded.get((str(module.__file__), node.lineno)) or [evaluated(node, module)]:
                place, before = places.get(pattern, (f"{short}:{name or node.lineno}", methods))
                places[pattern] = place, (before | methods if before and methods else set())
    return places


def evaluated(call: ast.Call, module: ModuleType) -> re.Pattern[Any]:
    """The pattern of a call within a function. Raises NameError if BUILT lacks a name."""
    names = {**vars(module), **BUILT.get(module.__name__, {})}

    def value(node: ast.expr) -> Any:
        return eval(compile(ast.Expression(node), str(module.__file__), "eval"), names)

    others = (*call.args[1:], *(word.value for word in call.keywords))
    flags = next((value(node) for node in others if re.match(r"re\.[A-Z]", ast.unparse(node))), 0)
    return re.compile(value(call.args[0]), flags)


def used(nodes: Sequence[ast.AST]) -> dict[str, set[str]]:
    """The methods of patterns that a module uses, by the pattern's name."""
    uses: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in CALLS:
            value = node.value
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "cast":
                value = value.args[1]
            uses.setdefault(ast.unparse(value).rpartition(".")[2], set()).add(node.attr)
    return uses


def assigned(nodes: Sequence[ast.AST]) -> dict[ast.AST, str]:
    """The names to which values are assigned as they are, or as which they are given."""
    names: dict[ast.AST, str] = {}
    for node in reversed(nodes):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            names[node.value] = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        elif isinstance(node, ast.keyword):
            names[node.value] = node.arg or ""
    return names


# What makes them slow

REPEATS: Final = {parser.MAX_REPEAT, parser.MIN_REPEAT, parser.POSSESSIVE_REPEAT}
SINGLE: Final = {parser.LITERAL, parser.NOT_LITERAL, parser.IN, parser.ANY}
USUAL: Final = "aZ0_ \n\t.,-!'\"(é\u0660\u3042\x00"
BYTES: Final = "aZ0_ \n\t.,-!'\"(\xe9\x00"
FEWEST: Final = 8
"""Repetitions below this are not dangerous by themselves."""


class Tree:
    """The parse tree of a pattern, and texts made from it."""

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        self.bytes = isinstance(pattern.pattern, bytes)
        self._dotall = bool(pattern.flags & re.DOTALL)
        self._fold = bool(pattern.flags & re.IGNORECASE)
        self._groups: dict[int, str] = {}
        self.items: Items = list(parser.parse(pattern.pattern, pattern.flags))
        singles = list(_singles(self.items))
        told = dict.fromkeys(BYTES if self.bytes else USUAL)
        for operation, argument in singles:
            told.update(dict.fromkeys(_named(operation, argument)))
        shapes: dict[tuple[bool, ...], str] = {}
        for letter in told:
            shapes.setdefault(tuple(self.accepts(single, letter) for single in singles), letter)
        self.letters = list(shapes.values())
        """One character of each kind that the pattern tells apart."""

    def accepts(self, single: Any, letter: str) -> bool:
        """Whether an operation that takes one character takes this one."""
        operation, argument = single
        if operation is parser.ANY:
            return self._dotall or letter != "\n"
        if operation is parser.LITERAL:
            return self._same(argument, letter)
        if operation is parser.NOT_LITERAL:
            return not self._same(argument, letter)
        negated = argument[0][0] is parser.NEGATE
        return any(self._holds(one, letter) for one in argument[negated:]) is not negated

    def _same(self, code: int, letter: str) -> bool:
        return chr(code) == letter or (self._fold and chr(code).lower() == letter.lower())

    def _holds(self, part: Any, letter: str) -> bool:
        operation, argument = part
        if operation is parser.LITERAL:
            return self._same(argument, letter)
        if operation is parser.RANGE:
            low, high = argument
            return any(
                low <= ord(each) <= high
                for each in ({letter, letter.lower(), letter.upper()} if self._fold else letter)
                if len(each) == 1
            )
        kind = str(argument)
        holds = (
            letter.isdecimal()
            if kind.endswith("DIGIT")
            else letter.isspace()
            if kind.endswith("SPACE")
            else letter.isalnum() or letter == "_"
        )
        return holds is not ("_NOT_" in kind)

    def sample(self, items: Items, *, full: bool = False) -> str:
        """A text that these operations take. full: with each optional part once."""
        return "".join(self._sample(operation, argument, full) for operation, argument in items)

    def _sample(self, operation: Any, argument: Any, full: bool) -> str:
        if operation in SINGLE:
            return next(
                (letter for letter in self.letters if self.accepts((operation, argument), letter)), ""
            )
        if operation in REPEATS:
            least, most, body = argument
            return self.sample(body, full=full) * max(least, min(int(most), int(full)))
        if operation is parser.SUBPATTERN:
            text = self.sample(argument[-1], full=full)
            self._groups[argument[0]] = text
            return text
        if operation is parser.GROUPREF:
            return self._groups.get(argument, "")
        if operation is parser.ATOMIC_GROUP:
            return self.sample(argument, full=full)
        if operation is parser.BRANCH:
            return self.sample(argument[1][0], full=full)
        if operation is parser.GROUPREF_EXISTS:
            return self.sample(argument[1], full=full)
        return ""  # places and assertions take no text

    def repeats(self, items: Items, lead: str = "", rest: str = "") -> Iterator[tuple[str, Items, str]]:
        """Each part that may be repeated often: a text that leads to it, its body, and a text that would follow it."""
        for at, (operation, argument) in enumerate(items):
            before = lead + self.sample(items[:at])
            after = self.sample(items[at + 1 :]) + rest
            if operation in REPEATS:
                _, most, body = argument
                if int(most) >= FEWEST:
                    yield before, body, after
                    full = lead + self.sample(items[:at], full=True)
                    if full != before:
                        yield full, body, after
            for inner in _inside(operation, argument):
                yield from self.repeats(inner, before, after)

    def units(self, body: Items) -> Collection[str]:
        """What fits a repeated part: one character of each kind, and its whole text."""
        singles = list(_singles(body))
        letters = [
            letter for letter in self.letters if any(self.accepts(single, letter) for single in singles)
        ]
        return dict.fromkeys(
            text for text in (self.sample(body), self.sample(body, full=True), *letters) if text
        )

    def attacks(self) -> Iterator[Attack]:
        """The texts for all repeated parts, and the whole pattern's text again and again."""
        whole = self.sample(self.items, full=True)
        if whole:
            yield Attack("", whole, "\x00")
            yield Attack("", whole[:-1] or whole, "\x00")
        for lead, body, rest in self.repeats(self.items):
            singles = list(_singles(body))
            wrong = [
                letter
                for letter in self.letters
                if not any(self.accepts(single, letter) for single in singles)
            ]
            tails = dict.fromkeys(("", *wrong[:4], f"{rest[:-1]}\x00", f"\x00{rest}"))
            for unit in self.units(body):
                for tail in tails:
                    yield Attack(lead, unit, tail)
                    if lead:
                        yield Attack("", unit, tail)
                        yield Attack("", lead + unit, tail)
                        yield Attack(lead, unit, tail, leads=True)


def _inside(operation: Any, argument: Any) -> Iterable[Items]:
    """The sequences within an operation."""
    if operation in REPEATS:
        return (argument[2],)
    if operation is parser.SUBPATTERN:
        return (argument[-1],)
    if operation is parser.ATOMIC_GROUP:
        return (argument,)
    if operation in (parser.ASSERT, parser.ASSERT_NOT):
        return (argument[1],)
    if operation is parser.BRANCH:
        return argument[1]
    if operation is parser.GROUPREF_EXISTS:
        return [one for one in argument[1:] if one is not None]
    return ()


def _singles(items: Items) -> Iterator[Any]:
    """The operations within that take one character."""
    for operation, argument in items:
        if operation in SINGLE:
            yield operation, argument
        for inner in _inside(operation, argument):
            yield from _singles(inner)


def _named(operation: Any, argument: Any) -> Iterator[str]:
    """The characters that an operation names."""
    if operation in (parser.LITERAL, parser.NOT_LITERAL):
        yield chr(argument)
    elif operation is parser.IN:
        for one, value in argument:
            if one is parser.LITERAL:
                yield chr(value)
            elif one is parser.RANGE:
                yield from map(chr, value)


# How slow they are


class _TooLong(Exception):
    """A pattern has taken longer than GUARD."""


def _stop(_: int, __: FrameType | None) -> None:
    raise _TooLong


def seconds(run: Callable[[Any], object], text: str, *, of_bytes: bool) -> float:
    """The CPU time of one run; infinite if it takes longer than GUARD. The engine of `re` looks for signals while it backtracks."""
    given = text.encode("latin-1", "replace") if of_bytes else text
    signal.setitimer(signal.ITIMER_VIRTUAL, GUARD)
    began = time.thread_time()
    try:
        run(given)
        return time.thread_time() - began
    except _TooLong:
        return float("inf")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def ways(pattern: re.Pattern[Any], methods: set[str]) -> Iterator[Callable[[Any], object]]:
    """How the pattern is used."""
    if "match" in methods:
        yield pattern.match
    if "fullmatch" in methods:
        yield pattern.fullmatch
    if not methods or not methods <= {"match", "fullmatch"}:
        yield pattern.findall


def slow(
    pattern: re.Pattern[Any], methods: set[str], cut: int | None, *, whole: bool
) -> Iterator[dict[str, object]]:
    """The first text for each way of use that takes too long, of the three that take longest at 4 KiB."""
    tree = Tree(pattern)
    attacks = list(dict.fromkeys(tree.attacks()))
    if not whole:
        attacks = attacks[:: -(-len(attacks) // MOST_ATTACKS) or 1]
    for run in ways(pattern, methods):

        def measured(attack: Attack, size: int, run: Callable[[Any], object] = run) -> float:
            return seconds(run, attack.text(size)[:cut], of_bytes=tree.bytes)

        smalls: list[tuple[float, Attack]] = []
        for attack in attacks:
            smalls.append((measured(attack, SMALL), attack))
            if smalls[-1][0] > GUARD:
                break
        for small, attack in sorted(smalls, key=lambda one: one[0], reverse=True)[:3]:
            if not whole and small < QUICK:
                continue
            large = measured(attack, LARGE) if small < GUARD else small
            limit = MOST_WHOLE if whole else NOISE
            if limit < large < GUARD:  # perhaps something else held the processor
                pairs = [(measured(attack, SMALL), measured(attack, LARGE)) for _ in range(8)]
                small, large = (min(column) for column in zip((small, large), *pairs, strict=True))
            if large > limit and (whole or large > GUARD or large / small > MOST_GROWTH):
                yield {
                    "pattern": str(pattern.pattern),
                    "text": [attack.lead[:80], attack.leads, attack.unit, attack.tail],
                    "seconds": [round(one, 4) if one < GUARD else None for one in (small, large)],
                }
                break


def main() -> None:
    """Prints the slow patterns, and how many there are."""
    gc.disable()  # the trees of all modules are kept, and looking through them again and again takes a fifth of the time
    whole = "--whole" in sys.argv[1:]
    given = [one for one in sys.argv[1:] if one != "--whole"]
    signal.signal(signal.SIGVTALRM, _stop)
    found = {re.compile(one): ("given", {"search"}) for one in given} or patterns()
    for pattern, (place, methods) in found.items():
        for one in slow(pattern, methods, CUT.get(place), whole=whole):
            print(json.dumps({"place": place, **one}, ensure_ascii=False), flush=True)
    print(json.dumps({"patterns": len(found)}))


if __name__ == "__main__":
    main()
