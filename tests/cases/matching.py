"""Compares a response with the expected response. Ids, times and secrets, which differ between runs, are ignored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
_TOKENS: Mapping[str, str] = {"<uuid>": UUID, "<time>": TIME, "<any>": r"[\s\S]*"}
_FILLED = re.compile(r"\$\{(\w+)(?::(.*?):(\d+))?\}", re.DOTALL)
_MASKED = {
    "etag": "<etag>",
    "sharedName": "<shared name>",
    "prefix": "<prefix>",
    "nextPageToken": "<page token>",
    "secret": "<secret>",
    "code": "<code>",
}
_NUMBERS = {"score": "<score>", "support": "<support>"}


def fill(value: Any, kept: Mapping[str, str]) -> Any:
    """In a value, replace `${name}` with the stored value, and `${repeat:x:3}` with `xxx`."""
    match value:
        case str():

            def put(match: re.Match[str]) -> str:
                if match[2] is not None:
                    return match[2] * int(match[3])
                return kept[match[1]]

            return _FILLED.sub(put, value)
        case dict():
            return {fill(key, kept): fill(item, kept) for key, item in cast("dict[str, Any]", value).items()}
        case list():
            return [fill(item, kept) for item in cast("list[Any]", value)]
        case _:
            return value


def at(value: Any, path: str) -> Any:
    """The value at a path such as `hits.0.passage.name`."""
    for part in path.split("."):
        value = value[int(part) if part.isdecimal() else part]
    return value


def differences(pattern: Any, value: Any, where: str = "") -> list[str]:
    """The differences between a value and a pattern; empty if it matches."""
    match pattern:
        case dict() if isinstance(value, dict):
            lines: list[str] = []
            for key, inner in cast("dict[str, Any]", pattern).items():
                if inner == "<absent>":
                    lines += [f"{where}.{key} is there"] if key in value else []
                elif key not in value:
                    lines.append(f"{where}.{key} is missing")
                else:
                    lines += differences(inner, value[key], f"{where}.{key}")
            return lines
        case list() if isinstance(value, list):
            patterns, values = cast("list[Any]", pattern), cast("list[Any]", value)
            if patterns[-1:] == ["<more>"]:
                patterns, values = patterns[:-1], values[: len(patterns) - 1]
            if len(patterns) != len(values):
                return [f"{where} has {len(values)} entries, not {len(patterns)}: {values}"]
            return [
                difference
                for index, (inner, item) in enumerate(zip(patterns, values, strict=True))
                for difference in differences(inner, item, f"{where}[{index}]")
            ]
        case str() if isinstance(value, str):
            parts = re.split("(" + "|".join(_TOKENS) + ")", pattern)
            wanted = "".join(_TOKENS.get(part) or re.escape(part) for part in parts)
            return [] if re.fullmatch(wanted, value) else [f"{where} is {value!r}, not {pattern!r}"]
        case _:
            return (
                []
                if pattern == value and type(pattern) is type(value)
                else [f"{where} is {value!r}, not {pattern!r}"]
            )


class Steady:
    """Replaces values that differ between runs with placeholders. The same id gets the same number everywhere."""

    def __init__(self, names: Sequence[str], unsteady: Sequence[str] = ()) -> None:
        self._unsteady = frozenset(unsteady)
        self._ids: dict[str, str] = {}
        self._names = names

    def of(self, value: Any, key: str = "") -> Any:
        """The value in a form that is the same in every run."""
        match value:
            case dict():
                # The metadata map has no order, so its keys are sorted before ids get their numbers.
                items = (
                    sorted(cast("dict[str, Any]", value).items())
                    if key == "metadata"
                    else cast("dict[str, Any]", value).items()
                )
                return {name: self.of(item, name) for name, item in items if name not in self._unsteady}
            case list():
                return [self.of(item, key) for item in cast("list[Any]", value)]
            case str():
                # The code of a WebSocket frame is a word of the contract, not a secret.
                masked = key in _MASKED and not (key == "code" and value.isupper())
                return _MASKED[key] if masked else self._text(value)
            case float() if key in _NUMBERS:
                return _NUMBERS[key]
            case _:
                return value

    def _text(self, text: str) -> str:
        text = re.sub(
            UUID, lambda found: self._ids.setdefault(found[0], f"<uuid {len(self._ids) + 1}>"), text
        )
        text = re.sub(TIME, "<time>", text)
        text = re.sub(r"\b127\.0\.0\.1:\d+", "<address>", text)
        # The version number counts how often an agent's files were changed while the instance ran. The default agent's
        # files do not change, so its version number is compared.
        text = re.sub(r"\b(agents/(?!default)[a-z0-9-]+/versions)/\d+", r"\1/<version>", text)
        for number, name in enumerate(self._names, 1):
            text = text.replace(name, f"<tenant {number}>")
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "<minute>", text)
