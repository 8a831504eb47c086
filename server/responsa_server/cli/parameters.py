"""An agent's parameters on the command line. This module parses `name=value` with the agent's schema and lists the
permitted choices. It has no side effects.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from responsa.chat.v1 import agent_pb2
from responsa_client.errors import ResponsaError
from responsa_client.requests import struct
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, Json, as_json, one_line, valid_text

REASONS = frozenset({"PARAMETERS_INVALID", "TEACHER_ID_MALFORMED", "TEACHER_NOT_FOUND"})
"""The error reasons of questions that were refused because of their parameters."""
_SHOWN = 20
"""The maximum number of records in a list of choices."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A permitted value. title: the value's display name, or ""."""

    value: Json
    title: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One property of an agent's schema.

    types: the JSON types that the schema allows, or (). resource: the kind of record to which the parameter refers, or
    "".
    """

    name: str
    title: str
    types: Sequence[str]
    choices: Sequence[Choice]
    required: bool
    default: Json
    resource: str


def parameters(agent: agent_pb2.Agent) -> Sequence[Parameter]:
    """Return the agent's parameters: first the required parameters, then the others, both in the order of their names."""
    schema = as_json(agent.parameters_schema)
    properties, required = _object(schema.get("properties")), _list(schema.get("required"))
    known = [_parameter(name, _object(form), name in required) for name, form in properties.items()]
    return sorted(known, key=lambda parameter: (not parameter.required, parameter.name))


def parse_typed(texts: Sequence[str], agent: agent_pb2.Agent) -> dict[str, Json]:
    """Parse `name=value` texts with the agent's schema. The value may be the title of a record instead of its id.

    The server checks whether each value is permitted, and whether all required parameters are given.

    Raises:
        CommandFailed: "=" is missing, the agent has no such parameter, a name is given twice, or a value has the wrong type.
    """
    known = {parameter.name: parameter for parameter in parameters(agent)}
    values: dict[str, Json] = {}
    for name, value in split_pairs(texts, "param").items():
        if name not in known:
            raise CommandFailed(f"{agent.name} has no parameter {name!r}.", _names(name, known), EXIT_USAGE)
        values[name] = _value(value, known[name])
    return values


def parse_untyped(texts: Sequence[str], option: str = "param") -> dict[str, Json]:
    """Parse `name=value` texts without a schema. A value that is valid JSON is parsed as JSON; any other value is a
    string. option: the command's option, for messages.

    Raises:
        CommandFailed: "=" or the name is missing, or a name is given twice.
    """
    return {name: _as("any", value)[1] for name, value in split_pairs(texts, option).items()}


def split_pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Part `name=value` texts at the first "=". Raises the same errors as `parse_untyped`."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = valid_text(text, f"--{option}").partition("=")
        if not equals or not name:
            raise CommandFailed(
                f"{text!r} does not have the form name=value.", f"Write --{option} name=value.", EXIT_USAGE
            )
        if name in pairs:
            raise CommandFailed(f"--{option} {name} is given twice.", "Leave one out.", EXIT_USAGE)
        pairs[name] = value
    return pairs


def hint(agent: agent_pb2.Agent, error: ResponsaError) -> str:
    """Describe the permitted parameters, with their choices, if the error is about the question's parameters; return ""
    for other errors.
    """
    if (error.reason or "") not in REASONS:
        return ""
    about = parameters(agent)
    if error.reason != "PARAMETERS_INVALID":
        about = [parameter for parameter in about if parameter.resource] or about
    lines: list[str] = []
    for parameter in about:
        if error.reason == "TEACHER_ID_MALFORMED" and parameter.choices:
            lines += [_correct_name(error.metadata.get("teacher_id", ""), parameter)]
        lines += describe(parameter)
    return "\n".join(lines)


def describe(parameter: Parameter) -> Iterator[str]:
    """Yield lines that describe a parameter to the user: its name, its type, and its choices."""
    values = [choice for choice in parameter.choices if not choice.title]
    named = [choice for choice in parameter.choices if choice.title]
    notes = (
        [parameter.title]
        if parameter.title and parameter.title.casefold() != parameter.name.casefold()
        else []
    )
    notes += ["required"] if parameter.required else []
    notes += [f"one of {', '.join(format_value(choice.value) for choice in values)}"] if values else []
    notes += (
        [" or ".join(parameter.types)]
        if parameter.types and not parameter.choices and tuple(parameter.types) != ("string",)
        else []
    )
    notes += [f"default {format_value(parameter.default)}"] if parameter.default is not None else []
    if parameter.resource and not parameter.choices:
        notes += [f"there are no {parameter.resource} yet: `responsa samples load` loads samples"]
    yield f"  --param {parameter.name}=…  {', '.join(notes)}{':' if named else ''}"
    for choice in named[:_SHOWN]:
        yield f"      {format_value(choice.value)}  {one_line(choice.title, 60)}"
    if len(named) > _SHOWN:
        yield f"      and {len(named) - _SHOWN} more"


def _correct_name(name: str, parameter: Parameter) -> str:
    """A line on a value that is neither the id nor the name of a record, with the name that was probably meant."""
    names = {choice.title.casefold(): choice.title for choice in parameter.choices if choice.title}
    if name.casefold() in names:
        return f"Several {parameter.resource} have the name “{name}”; give the id of one of them."
    near = difflib.get_close_matches(name.casefold(), list(names), n=1)
    meant = f" Did you mean “{names[near[0]]}”?" if near else ""
    return f"The name of one of the {parameter.resource} may stand here, too, but none has the name “{one_line(name, 64)}”.{meant}"


def _parameter(name: str, schema: Mapping[str, Json], required: bool) -> Parameter:
    kind = schema.get("type")
    types = [kind] if isinstance(kind, str) else [item for item in _list(kind) if isinstance(item, str)]
    title, resource = schema.get("title"), schema.get("x-resource")
    return Parameter(
        name,
        title if isinstance(title, str) else "",
        tuple(types),
        tuple(_choices(schema)),
        required,
        schema.get("default"),
        resource if isinstance(resource, str) else "",
    )


def _choices(schema: Mapping[str, Json]) -> Iterator[Choice]:
    if "const" in schema:
        yield Choice(schema["const"])
    for value in _list(schema.get("enum")):
        yield Choice(value)
    for choice in (*_list(schema.get("oneOf")), *_list(schema.get("anyOf"))):
        option = _object(choice)
        if "const" in option:
            title = option.get("title")
            yield Choice(option["const"], title if isinstance(title, str) else "")


def _value(text: str, parameter: Parameter) -> Json:
    for choice in parameter.choices:
        if text == format_value(choice.value):
            return choice.value
    titled = [item for item in parameter.choices if item.title.casefold() == text.casefold() and item.title]
    if len(titled) == 1:
        return titled[0].value
    kinds = parameter.types or tuple(dict.fromkeys(_kind(item.value) for item in parameter.choices))
    for kind in sorted(kinds or ("any",), key=lambda kind: kind == "string"):
        fits, value = _as(kind, text)
        if fits:
            return value
    raise CommandFailed(
        f"{parameter.name} takes {' or '.join(kinds)}, not {text!r}.",
        "",
        EXIT_USAGE,
    )


def _as(kind: str, text: str) -> tuple[bool, Json]:
    """Return whether the text is a value of this JSON Schema type, and the value.

    The type "any" accepts any JSON that a request can carry, and treats every other text as a string.
    """
    if kind == "string":
        return True, text
    try:
        value = cast("Json", json.loads(text))
        struct({"value": value})
    except (ValueError, RecursionError):
        return kind == "any", text
    fits = kind in ("any", _kind(value)) or (kind == "number" and _kind(value) == "integer")
    return fits, value


def _kind(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            # A Struct stores every number as a double.
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"


def format_value(value: Json) -> str:
    """Return a value as the command line writes it: a string without quotes, and any other value as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def _names(name: str, known: Mapping[str, Parameter]) -> str:
    if not known:
        return "It has no parameters."
    near = difflib.get_close_matches(name, list(known), n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"Its parameters are {', '.join(known)}.{meant}"


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else ()
