"""Small changes of functions, each of which a good test notices."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Final, NamedTuple

PAIRS: Final[tuple[tuple[type[ast.AST], type[ast.AST]], ...]] = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)),
    *((ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.FloorDiv)),
)
OTHER: Final = {**dict(PAIRS), **{second: first for first, second in PAIRS}, ast.Div: ast.Mult}
ASIDE: Final = {"annotation", "returns", "decorator_list", "args"}
"""What is no part of a function's work: types, decorators, and the defaults of parameters."""
LOGGING: Final = {"debug", "info", "warning", "error", "exception"}
LEFT_OUT: Final = "left out"
Change = tuple[int, str, Callable[[], None]]
"""The line, which counts from 1, what changes there, and what changes it in the tree."""


class Mutant(NamedTuple):
    """A change, which is still known after other lines have changed.

    file: relative to the repository. text: the line without its indentation. nth and place count from 0: which of the
    function's lines with this text, and which of the line's changes of this kind.
    """

    file: str
    function: str
    text: str
    nth: int
    change: str
    place: int


def mutants_of(tree: ast.AST, source: str, file: str) -> Iterator[tuple[Mutant, int, Callable[[], None]]]:
    """All mutants of a module, each with its line and what changes it in the tree."""
    lines = [line.strip() for line in source.splitlines()]
    for function, name in _functions(tree, ""):
        within = lines[function.lineno - 1 : function.end_lineno]
        places: Counter[tuple[int, str]] = Counter()
        for line, change, apply in _changes(function):
            # Without what its constructor sets, an object fails at once, so such mutants show nothing.
            if not (change == LEFT_OUT and name.endswith("__init__")):
                nth = within[: line - function.lineno].count(text := lines[line - 1])
                yield Mutant(file, name, text, nth, change, places[line, change]), line, apply
                places[line, change] += 1


def mutated(mutant: Mutant, path: Path) -> Mapping[tuple[str, int], CodeType]:
    """The code of all functions in a file with the change, by the qualified name and the first line. Empty if there is
    no such line any more."""
    source = path.read_text(encoding="utf-8") if path.exists() else ""
    tree = ast.parse(source)
    apply = next(
        (apply for other, _, apply in mutants_of(tree, source, mutant.file) if other == mutant), None
    )
    if apply is None:
        return {}
    apply()
    return dict(_codes(compile(ast.fix_missing_locations(tree), str(path), "exec", dont_inherit=True)))


def _codes(code: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield (constant.co_qualname, constant.co_firstlineno), constant
            yield from _codes(constant)


def _functions(node: ast.AST, within: str) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """The functions of modules and classes. A function within a function belongs to the outer one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, within + child.name
        else:
            yield from _functions(
                child, f"{within}{child.name}." if isinstance(child, ast.ClassDef) else within
            )


def _changes(parent: ast.AST) -> Iterator[Change]:
    for name, value in ast.iter_fields(parent):
        if name not in ASIDE or isinstance(parent, ast.Call):
            for node in value if isinstance(value, list) else [value]:
                # An assertion is for what cannot be, and nothing depends on the numbers in a sentence.
                if isinstance(node, ast.AST) and not isinstance(node, ast.Assert | ast.JoinedStr):
                    yield from _of(node, parent)
                    yield from _changes(node)


def _of(node: ast.AST, parent: ast.AST) -> Iterator[Change]:
    """The changes of a node itself. What is never executed stays in sight of the compiler, which would otherwise forget variables."""

    def put(name: str, new: object) -> Callable[[], None]:
        return lambda: setattr(node, name, new)

    def instead(new: ast.AST) -> Callable[[], None]:
        return lambda: _replace(parent, node, ast.copy_location(new, node))

    match node:
        case ast.Compare(lineno=line, ops=[operator, *more]) if other := OTHER.get(type(operator)):
            yield line, f"{_named(operator)} → {other.__name__}", put("ops", [other(), *more])
        case (
            ast.BoolOp(lineno=line, op=operator)
            | ast.BinOp(lineno=line, op=operator)
            | ast.AugAssign(lineno=line, op=operator)
        ) if other := OTHER.get(type(operator)):
            yield line, f"{_named(operator)} → {other.__name__}", put("op", other())
        case ast.UnaryOp(lineno=line, op=ast.Not(), operand=operand):
            yield line, "not x → x", instead(operand)
        case ast.Constant(lineno=line, value=bool() as value):
            yield line, f"{value} → {not value}", put("value", not value)
        case ast.Constant(lineno=line, value=int() | float() as value):
            yield line, "number + 1", put("value", value + 1)
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if isinstance(
            test, ast.Name | ast.Attribute | ast.Call | ast.Await
        ):
            yield test.lineno, "condition negated", put("test", ast.UnaryOp(ast.Not(), test))
        case ast.Return(lineno=line, value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield (
                line,
                "None returned",
                put("value", ast.IfExp(ast.Constant(True), ast.Constant(None), value)),
            )
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name))) if name in LOGGING:
            pass
        case (
            ast.Expr(lineno=line, value=ast.Call() | ast.Await())
            | ast.Raise(lineno=line)
            | ast.Assign(lineno=line, targets=[ast.Attribute() | ast.Subscript()])
        ):
            yield line, LEFT_OUT, instead(ast.If(ast.Constant(False), [node], []))
        case ast.Continue(lineno=line):
            yield line, "continue → break", instead(ast.Break())
        case ast.Break(lineno=line):
            yield line, "break → continue", instead(ast.Continue())
        case _:
            pass


def _named(operator: ast.AST) -> str:
    return type(operator).__name__


def _replace(parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for name, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, name, new)
        elif isinstance(value, list):
            setattr(parent, name, [new if item is old else item for item in value])
