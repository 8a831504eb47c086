"""The lines and columns of keys in a TOML text. Used only for problems: the TOML reader is faster, but does not report positions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import tree_sitter
import tree_sitter_toml

from responsa_server.agents.config.problems import Key, Problem

Place = tuple[int, int]
"""Line and column, from 1."""


def positions(text: str, first_line: int = 1) -> Mapping[Key, Place]:
    """The line and column of each key and of each element of an array. first_line: the number of the text's first line in its file."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_toml.language()))
    found: dict[Key, Place] = {}
    counts: dict[Key, int] = {}
    for node in parser.parse(text.encode()).root_node.children:
        match node.type:
            case "pair":
                _pair(node, (), found)
            case "table" | "table_array_element":
                _table(node, found, counts)
            case _:
                pass
    return {key: (line + first_line, column + 1) for key, (line, column) in found.items()}


def placed(problems: Iterable[Problem], texts: Mapping[str, tuple[str, int]]) -> Sequence[Problem]:
    """The problems with the positions of their keys, or of the innermost enclosing table that exists. texts: TOML by file, with the number of its first line."""
    known: dict[str, Mapping[Key, Place]] = {}
    found: list[Problem] = []
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
        found.append(problem)
    return found


def _table(node: tree_sitter.Node, found: dict[Key, Place], counts: dict[Key, int]) -> None:
    name, *rest = node.named_children
    parts = list(_names(name))
    key: Key = ()
    for part in parts[:-1]:
        key = (*key, part)
        if key in counts:  # a key after an array of tables belongs to its last table
            key = (*key, counts[key] - 1)
    key = (*key, parts[-1])
    found.setdefault(key, _start(name))
    if node.type == "table_array_element":
        place = counts.get(key, 0)
        counts[key] = place + 1
        key = (*key, place)
        found[key] = _start(name)
    for one in rest:
        if one.type == "pair":
            _pair(one, key, found)


def _pair(node: tree_sitter.Node, prefix: Key, found: dict[Key, Place]) -> None:
    children = [one for one in node.named_children if one.type != "comment"]
    if len(children) < 2:
        return
    name, value = children[0], children[-1]
    key = prefix
    for part in _names(name):
        key = (*key, part)
        found.setdefault(key, _start(name))
    _value(value, key, found)


def _value(node: tree_sitter.Node, key: Key, found: dict[Key, Place]) -> None:
    children = [one for one in node.named_children if one.type != "comment"]
    if node.type == "inline_table":
        for one in children:
            _pair(one, key, found)
    elif node.type == "array":
        for place, one in enumerate(children):
            found[(*key, place)] = _start(one)
            _value(one, (*key, place), found)


def _names(node: tree_sitter.Node) -> Iterator[str]:
    if node.type == "dotted_key":
        for one in node.named_children:
            yield from _names(one)
        return
    text = (node.text or b"").decode()
    yield text[1:-1] if node.type == "quoted_key" else text


def _start(node: tree_sitter.Node) -> Place:
    return node.start_point.row, node.start_point.column
