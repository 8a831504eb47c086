"""The problems in an agent's files: their messages and suggestions. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import rtoml
from pydantic import BaseModel, ValidationError

from responsa_server.domain.problems import FileProblem

AGENT_FILE: Final = "agent.toml"

SECRET: Final = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{12,}|rsp_[A-Za-z0-9_-]{8,}|AIza[A-Za-z0-9_-]{12,}|xox[bp]-[A-Za-z0-9-]{8,})"
)
"""The shapes of known keys and tokens."""

Key = tuple[str | int, ...]
"""The path of a value in a TOML file: the names of keys and, in arrays, positions from 0."""

_AT: Final = re.compile(r"^(?P<message>.*) at line (?P<line>\d+) column (?P<column>\d+)$", re.DOTALL)
_SUBJECT: Final = re.compile(r"^(Input|String|Tuple|Dictionary|List|Value) should ")
_QUOTED: Final = re.compile(r"'([^']*)'")
# Pydantic puts the branch of a union into the path of an error.
_BRANCHES: Final = frozenset({"bool", "int", "float", "str", "dict[str,str]"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    file: the path relative to the agent's folder, or `shared/…`. key: the path of the value in `agent.toml` or in a
    prompt's front matter. suggestion: a likely correction, or "". line, column: the position from 1; None for a mistake
    that `key` locates. The message and the key's path never contain secrets.
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
        for step in self.key:
            text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
        return SECRET.sub("[secret]", text)

    def __str__(self) -> str:
        if self.column is None:
            return str(self.file_problem)
        return str(replace(self.file_problem, file=f"{self.file}:{self.line}:{self.column}", line=0))

    @property
    def file_problem(self) -> FileProblem:
        """The problem as administrators see it."""
        return FileProblem(self.file, self.line or 0, self.path, self.message, self.suggestion)


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
    others = [name for name in allowed if name != str(wanted)]
    matches = difflib.get_close_matches(str(wanted), others, n=1, cutoff=0.6)
    return matches[0] if matches else ""


def quote(names: Iterable[object]) -> str:
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
        value, suggestion = detail["input"], ""
        match detail["type"]:
            case "extra_forbidden":
                message = unknown.format(path[-1])
                suggestion = closest(path[-1], known or _keys(model, path[:-1]))
            case "missing":
                message = f"“{path[-1]}” is missing"
                path = path[:-1] if len(path) > 1 else path
            case "value_error":
                message = str(detail.get("ctx", {}).get("error", detail["msg"]))
            case kind:
                message = clause(_SUBJECT.sub("must ", detail["msg"])).replace(" after validation", "")
                message = _QUOTED.sub(r"“\1”", message)
                if isinstance(value, str | int | float) and not kind.endswith(("_short", "_long")):
                    text = str(value).lower() if isinstance(value, bool) else str(value)
                    message += f", not “{text[:40]}”"
                if kind == "literal_error":
                    suggestion = closest(value, _QUOTED.findall(detail["msg"]))
        yield Problem(file, message, (*prefix, *path), suggestion)


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
    return next((model for arg in get_args(annotation) if (model := _model_in(arg))), None)
