"""The problems in an agent's files: their messages, suggestions, lines and columns. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import rtoml
import tree_sitter
import tree_sitter_toml
from pydantic import BaseModel, ValidationError

AGENT_FILE: Final = "agent.toml"

_MOST_ELEMENTS: Final = 1000

SECRET: Final = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{12,}|rsp_[A-Za-z0-9_-]{8,}|AIza[A-Za-z0-9_-]{12,}|xox[bp]-[A-Za-z0-9-]{8,})"
)
"""The shapes of known keys and tokens."""

Key = tuple[str | int, ...]
"""The path of a value in a TOML file: the names of keys and, in arrays, positions from 0."""

TYPE_NAMES: Final[Mapping[object, str]] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "an array",
    "object": "a table",
}
"""The words for JSON Schema's types in messages."""
_WRONG_TYPES: Final[Mapping[str, str]] = {
    "string_type": "string",
    "int_type": "integer",
    "int_from_float": "integer",
    "float_type": "number",
    "bool_type": "boolean",
    "tuple_type": "array",
    "dict_type": "object",
    "mapping_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
}
# What other languages and databases call the types that a file may name.
_SYNONYMS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("string", "str", "varchar", "char", "uuid"), "text"),
    **dict.fromkeys(("int", "bigint", "smallint"), "integer"),
    **dict.fromkeys(("float", "double", "decimal", "numeric", "real"), "number"),
    **dict.fromkeys(("datetime", "timestamp", "timestamptz"), "time"),
    **dict.fromkeys(("object", "array", "jsonb"), "json"),
    "bool": "boolean",
}
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_AT: Final = re.compile(r"^(?P<message>.*) at line (?P<line>\d+) column (?P<column>\d+)$", re.DOTALL)
# Pydantic puts the branch of a union into the path of an error.
_BRANCHES: Final = frozenset({"bool", "int", "float", "str", "dict[str,str]"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    file: the path relative to the agent's folder, or `shared/…`. key: the path of the value in `agent.toml` or in a
    prompt's front matter. suggestion: a likely correction, or "". line, column: the position from 1; None while it is
    unknown. The message and the key's path never contain secrets.
    """

    file: str
    message: str
    key: Key = ()
    suggestion: str = ""
    line: int | None = None
    column: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", SECRET.sub("[secret]", self.message))

    @property
    def path(self) -> str:
        """The key in its usual notation, e.g. `graph.edges[3].when`."""
        text = ""
        for one in self.key:
            text += f"[{one}]" if isinstance(one, int) else f".{one}" if text else one
        return SECRET.sub("[secret]", text)

    def __str__(self) -> str:
        place = ":".join(str(one) for one in (self.file, self.line, self.column) if one is not None)
        hint = f" Did you mean “{self.suggestion}”?" if self.suggestion else ""
        return f"{place}: {f'{self.path}: ' if self.key else ''}{self.message}.{hint}"


def syntax_problem(file: str, error: rtoml.TomlParsingError, first_line: int) -> Problem:
    """A mistake in TOML that begins at this line of a file."""
    if (match := _AT.match(str(error))) is None:
        return Problem(file, f"is not valid TOML: {error}")
    return Problem(
        file,
        f"is not valid TOML: {match['message']}",
        line=int(match["line"]) + first_line - 1,
        column=int(match["column"]),
    )


def in_config(key: Key, message: str, suggestion: str = "") -> Problem:
    """A problem in `agent.toml`."""
    return Problem(AGENT_FILE, message, key, suggestion)


def closest(wanted: object, allowed: Iterable[str]) -> str:
    """The allowed name that is most similar to the given name but differs from it; "" if no allowed name is similar."""
    others = [one for one in allowed if one != str(wanted)]
    found = difflib.get_close_matches(str(wanted), others, n=1, cutoff=0.6)
    return found[0] if found else ""


def quoted(names: Iterable[object]) -> str:
    """The names in quotation marks, separated by commas."""
    return ", ".join(f"“{name}”" for name in names)


def clause(sentence: str) -> str:
    """A sentence as part of another sentence: without its first capital and its full stop."""
    rest = sentence.rstrip(" .")
    return rest[:1].lower() + rest[1:]


def from_validation(
    error: ValidationError,
    model: type[BaseModel],
    prefix: Key = (),
    known: Sequence[str] = (),
    unknown: str = "there is no key “{}” here",
    file: str = AGENT_FILE,
) -> Iterator[Problem]:
    """Pydantic's errors as problems, one for each path.

    prefix: the path of the validated table. known: the table's keys, if the table may have more keys than the model has
    fields. unknown: the message about an unknown key.
    """
    reported = set[Key]()
    for detail in error.errors(include_url=False):
        path = tuple(
            part
            for part in detail["loc"]
            if part not in _BRANCHES and not str(part).startswith(("function-", "constrained-"))
        )
        if path and path[-1] == "[key]":
            path = path[:-1]
        if path in reported:  # each branch of a union reports the same value
            continue
        reported.add(path)
        value, context = detail["input"], detail.get("ctx", {})
        suggestion = ""
        match detail["type"]:
            case "extra_forbidden":
                message = unknown.format(path[-1])
                suggestion = closest(path[-1], known or _keys(model, path[:-1]))
            case "missing":
                message = f"“{path[-1]}” is missing"
                path = path[:-1] if len(path) > 1 else path
            case "literal_error":
                allowed = re.findall(r"'([^']*)'", str(context.get("expected", "")))
                message = f"must be {_either(allowed)}, not {shown(value)}"
                meant = _SYNONYMS.get(str(value).lower(), "")
                suggestion = meant if meant in allowed else closest(value, allowed)
            case kind if kind in _BOUNDS:
                words, bound = _BOUNDS[kind]
                message = f"must be {words} {_number(context[bound])}, not {shown(value)}"
            case "finite_number":
                message = f"must be a finite number, not {value}"
            case "string_pattern_mismatch":
                message = f"“{value}” is not a valid name: use lower-case letters, digits and “_”, with a letter first"
            case "value_error":
                message = str(context.get("error", detail["msg"]))
            case "string_too_short" | "too_short" | "too_long" | "string_too_long":
                message = _length(detail["type"], context)
            case kind if kind in _WRONG_TYPES:
                message = f"must be {TYPE_NAMES[_WRONG_TYPES[kind]]}, not {shown(value)}"
            case _:
                message = detail["msg"]
        yield Problem(file, message, (*prefix, *path), suggestion)


def shown(value: object) -> str:
    """A value of a file, described for a message. The description never contains a secret."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            if SECRET.search(value):
                return "a text"
            return f"the text “{value if len(value) <= 40 else value[:39] + '…'}”"
        case int() | float():
            return f"the number {_number(value)}"
        case list() | tuple():
            return "an array"
        case Mapping():
            return "a table"
        case _:
            return f"a {type(value).__name__}"


def _keys(model: type[BaseModel], path: Key) -> Sequence[str]:
    current: type[BaseModel] | None = model
    for part in path:
        if current is None:
            return []
        for name, info in current.model_fields.items():
            if part in (name, info.alias):
                current = _model_in(info.annotation)
                break
    return [] if current is None else [info.alias or name for name, info in current.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of a field's values. The field holds either one such value, or an array or table of such values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)


def _length(kind: str, context: Mapping[str, Any]) -> str:
    short, of_text = kind.endswith("short"), kind.startswith("string")
    bound = context["min_length" if short else "max_length"]
    if short and bound == 1:
        return f"must not be empty; give it at least one {'character' if of_text else 'entry'}"
    one, many = ("character", "characters") if of_text else ("entry", "entries")
    return f"must have at {'least' if short else 'most'} {bound} {one if bound == 1 else many}"


def _either(allowed: Sequence[str]) -> str:
    quotes = [f"“{one}”" for one in allowed]
    return quotes[0] if len(quotes) == 1 else f"{', '.join(quotes[:-1])} or {quotes[-1]}"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


Place = tuple[int, int]
"""A line and a column, both from 1."""


def positions(text: str, first_line: int = 1) -> Mapping[Key, Place]:
    """The line and column of each key and of each array element. first_line: the line in the file at which the text begins."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_toml.language()))
    places: dict[Key, Place] = {}
    counts: dict[Key, int] = {}
    for node in parser.parse(text.encode()).root_node.children:
        match node.type:
            case "pair":
                _pair(node, (), places)
            case "table" | "table_array_element":
                _table(node, places, counts)
            case _:
                pass
    return {key: (line + first_line, column + 1) for key, (line, column) in places.items()}


def placed(problems: Iterable[Problem], texts: Mapping[str, tuple[str, int]]) -> Sequence[Problem]:
    """The problems with their positions. A problem's position is the position of its key. If the file lacks the key, the
    position of the innermost enclosing table is used.

    texts: the TOML of each file and the number of its first line.
    """
    known: dict[str, Mapping[Key, Place]] = {}
    located: list[Problem] = []
    for problem in problems:
        if problem.line is None and problem.key and problem.file in texts:
            if problem.file not in known:
                known[problem.file] = positions(*texts[problem.file])
            places = known[problem.file]
            key = next(
                (
                    problem.key[:size]
                    for size in range(len(problem.key), 0, -1)
                    if problem.key[:size] in places
                ),
                None,
            )
            if key is not None:
                line, column = places[key]
                problem = replace(problem, line=line, column=column)
        located.append(problem)
    return located


def _table(node: tree_sitter.Node, places: dict[Key, Place], counts: dict[Key, int]) -> None:
    name, *rest = node.named_children
    parts = list(_names(name))
    key: Key = ()
    for part in parts[:-1]:
        key = (*key, part)
        if key in counts:  # a key below an array of tables belongs to the last table in the array
            key = (*key, counts[key] - 1)
    key = (*key, parts[-1])
    places.setdefault(key, _start(name))
    if node.type == "table_array_element":
        place = counts.get(key, 0)
        counts[key] = place + 1
        key = (*key, place)
        places[key] = _start(name)
    for one in rest:
        if one.type == "pair":
            _pair(one, key, places)


def _pair(node: tree_sitter.Node, prefix: Key, places: dict[Key, Place]) -> None:
    children = [named_child for named_child in node.named_children if named_child.type != "comment"]
    if len(children) < 2:
        return
    name, value = children[0], children[-1]
    key = prefix
    for part in _names(name):
        key = (*key, part)
        places.setdefault(key, _start(name))
    _value(value, key, places)


def _value(node: tree_sitter.Node, key: Key, places: dict[Key, Place]) -> None:
    if node.named_child_count > _MOST_ELEMENTS:  # problems of its elements have the place of the array
        return
    children = [named_child for named_child in node.named_children if named_child.type != "comment"]
    if node.type == "inline_table":
        for child in children:
            _pair(child, key, places)
    elif node.type == "array":
        for place, one in enumerate(children):
            places[(*key, place)] = _start(one)
            _value(one, (*key, place), places)


def _names(node: tree_sitter.Node) -> Iterator[str]:
    if node.type == "dotted_key":
        for named_child in node.named_children:
            yield from _names(named_child)
        return
    text = (node.text or b"").decode()
    yield text[1:-1] if node.type == "quoted_key" else text


def _start(node: tree_sitter.Node) -> Place:
    return node.start_point.row, node.start_point.column
