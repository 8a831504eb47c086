"""The schemas of an agent's parameters: flat, of words that JSON Schema has, and such that a question can meet them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import jsonschema_rs

from responsa_server.agents.config.check.problems import AGENT_FILE, Key, Problem, listed, meant
from responsa_server.agents.engine.config import RESOURCE, RESOURCES, AgentConfig

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_FLAT: Final = frozenset({"string", "integer", "number", "boolean"})
_WORDS: Final[Mapping[str, str]] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
_BOUNDS: Final = ("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_BRANCHES: Final = ("oneOf", "anyOf", "allOf")
_KEYWORDS: Final = frozenset(
    {
        *("type", "enum", "const", "default", "title", "description", "examples", "format", "pattern"),
        *_BOUNDS,
        "multipleOf",
        *_BRANCHES,
        *("not", "if", "then", "else", "deprecated", "readOnly", "writeOnly", "$comment", RESOURCE),
    }
)
"""What there is to say of a text, a number, or true or false."""


def parameters(config: AgentConfig) -> Iterator[Problem]:
    """Schemas that are none, are not flat, or that nothing fits."""
    properties = config.parameters.properties
    for name, schema in properties.items():
        key: Key = ("parameters", "properties", name)
        if not _NAME.fullmatch(name):
            yield Problem(
                AGENT_FILE,
                f"“{name}” is no name for a parameter: letters, digits and _, at most 63, the first one no digit",
                key,
                re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") if not name[:1].isdigit() else "",
            )
        yield from _property(schema, key)
    for place, name in enumerate(config.parameters.required):
        if name not in properties:
            yield Problem(
                AGENT_FILE,
                f"the required parameter “{name}” is not among the properties",
                ("parameters", "required", place),
                meant(name, properties),
            )


def _property(schema: Mapping[str, Any], key: Key) -> Iterator[Problem]:
    if "$ref" in schema or "$dynamicRef" in schema:
        yield Problem(
            AGENT_FILE,
            "a parameter's schema stands here, whole; references are not followed",
            (*key, "$ref"),
        )
        return
    wrong = list(_keywords(schema, key))
    yield from wrong
    kind = schema.get("type")
    if kind is None and not ({"enum", "const"} & set(schema)):
        # A misspelt keyword may have been the one.
        if not wrong:
            yield Problem(AGENT_FILE, "a parameter needs a type, or the values that it can have (enum)", key)
        return
    if kind is not None and not (isinstance(kind, str) and kind in _FLAT):
        if kind in ("object", "array", "null") or isinstance(kind, list):
            yield Problem(
                AGENT_FILE,
                f"a parameter is a text, a number, or true or false ({listed(sorted(_FLAT))}): parameters are flat",
                (*key, "type"),
            )
        else:
            yield Problem(
                AGENT_FILE,
                f"there is no type “{kind}” in JSON Schema",
                (*key, "type"),
                meant(kind, _FLAT),
            )
        return
    try:
        validator = jsonschema_rs.Draft202012Validator(
            dict(schema), validate_formats=True, retriever=_refused
        )
    except (jsonschema_rs.ValidationError, ValueError) as error:
        at = getattr(error, "instance_path", None) or ()
        why = str(getattr(error, "message", error)).splitlines()[0]
        yield Problem(AGENT_FILE, f"is no JSON Schema: {why}", (*key, *at))
        return
    values = [*_enum(schema, key), *_bounds(schema, key), *_resource(schema, key)]
    yield from values
    if not values:
        yield from _default(schema, validator, key)


def _keywords(schema: Mapping[str, Any], key: Key) -> Iterator[Problem]:
    for word in schema:
        if word in _KEYWORDS:
            continue
        # What begins with x- is a remark of whoever wrote it, unless it is nearly ours.
        ours = not word.startswith("x-")
        hint = meant(word, _KEYWORDS if ours else (RESOURCE,))
        if ours or hint:
            yield Problem(
                AGENT_FILE, f"the schema of a parameter has no keyword “{word}”", (*key, word), hint
            )
    for word in _BRANCHES:
        branches = schema.get(word)
        for place, one in enumerate(cast("list[Any]", branches) if isinstance(branches, list) else ()):
            if isinstance(one, dict):
                yield from _keywords(cast("dict[str, Any]", one), (*key, word, place))


def _enum(schema: Mapping[str, Any], key: Key) -> Iterator[Problem]:
    if "enum" not in schema:
        return
    values, kind = cast("Sequence[object]", schema["enum"]), schema.get("type")
    if not values:
        yield Problem(AGENT_FILE, "has no values, so nothing fits; list those that there are", (*key, "enum"))
        return
    wanted = str(kind) if kind is not None else _type(values[0])
    if wanted not in _FLAT:
        yield Problem(
            AGENT_FILE,
            f"{_shown(values[0])} is no text, no number, and neither true nor false: parameters are flat",
            (*key, "enum", 0),
        )
        return
    for place, one in enumerate(values):
        if not _of(one, wanted):
            why = "which the type says" if kind is not None else "as the first of these values is"
            yield Problem(AGENT_FILE, f"{_shown(one)} is not {_WORDS[wanted]}, {why}", (*key, "enum", place))
        elif any(_same(one, other) for other in values[:place]):
            yield Problem(AGENT_FILE, f"{_shown(one)} stands here twice", (*key, "enum", place))


def _bounds(schema: Mapping[str, Any], key: Key) -> Iterator[Problem]:
    for low, high, closed in (
        ("minimum", "maximum", True),
        ("exclusiveMinimum", "maximum", False),
        ("minimum", "exclusiveMaximum", False),
        ("exclusiveMinimum", "exclusiveMaximum", False),
        ("minLength", "maxLength", True),
    ):
        least, most = schema.get(low), schema.get(high)
        if least is None or most is None or least < most or (closed and least == most):
            continue
        yield Problem(
            AGENT_FILE,
            f"{low} is {least:g} and {high} is {most:g}, so nothing fits; the first must be the smaller one",
            (*key, low),
        )


def _resource(schema: Mapping[str, Any], key: Key) -> Iterator[Problem]:
    if RESOURCE not in schema:
        return
    named = schema[RESOURCE]
    if named not in RESOURCES:
        yield Problem(
            AGENT_FILE,
            f"there are no records “{named}” to name; there are {listed(RESOURCES)}",
            (*key, RESOURCE),
            meant(named, RESOURCES),
        )
    elif schema.get("type") != "string":
        yield Problem(AGENT_FILE, "records are named by a text; say type = “string”", (*key, RESOURCE))


def _default(
    schema: Mapping[str, Any], validator: jsonschema_rs.Draft202012Validator, key: Key
) -> Iterator[Problem]:
    if "default" not in schema:
        return
    given, kind, at = schema["default"], schema.get("type"), (*key, "default")
    values = schema.get("enum")
    if isinstance(kind, str) and not _of(given, kind):
        yield Problem(AGENT_FILE, f"must be {_WORDS[kind]}, which the type says, not {_shown(given)}", at)
    elif isinstance(values, list) and not any(_same(given, one) for one in cast("list[object]", values)):
        texts = [one for one in cast("list[object]", values) if isinstance(one, str)]
        each = ", ".join(_shown(one) for one in cast("list[object]", values))
        yield Problem(
            AGENT_FILE, f"{_shown(given)} is none of the values (enum): {each}", at, meant(given, texts)
        )
    else:
        for error in validator.iter_errors(given):
            yield Problem(AGENT_FILE, f"does not fit its own schema: {error.message.splitlines()[0]}", at)
            return


def _type(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case _:
            return ""


def _of(value: object, kind: str) -> bool:
    found = _type(value)
    whole = isinstance(value, float) and value.is_integer()
    return found == kind or (kind == "number" and found == "integer") or (kind == "integer" and whole)


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) is isinstance(other, bool)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text “{value}”"
    return f"the number {value:g}" if isinstance(value, int | float) else "a table or an array"


def _refused(address: str) -> Any:
    raise ValueError(f"{address} is not fetched")
