"""Tables and values: what the models of the configuration refuse, in words for people; names of kinds and options; keys that are secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from responsa_server.agents.config.check.files import AgentFiles, Surroundings
from responsa_server.agents.config.check.problems import AGENT_FILE, SECRET, Key, Problem, may_hold, meant
from responsa_server.agents.engine.config import AgentConfig, NodeTable
from responsa_server.agents.engine.options import NodeOptions

COLLECTION: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""The id of a collection, as questions name them, too."""
_SECRET_KEY: Final = re.compile(r"(?:^|[_-])(?:key|token|secret|password)$")
_HELD: Final = "holds a key or token; secrets come from the environment or secret files alone"
_TYPES: Final[Mapping[str, str]] = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "an array",
    "list_type": "an array",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def tables(config: Mapping[str, object]) -> tuple[AgentConfig | None, Sequence[Problem]]:
    """The configuration as its model, None where it cannot be, and what is wrong with it."""
    try:
        return AgentConfig.model_validate(config), []
    except ValidationError as error:
        found = list(told(error, AgentConfig))
    # What has a default is taken as not said, so that the rest is looked at, too.
    rest = cast("dict[str, object]", _without(config, {one.key for one in found}))
    try:
        return AgentConfig.model_validate(rest), found
    except ValidationError:
        return None, found


def gone(found: Sequence[Problem]) -> bool:
    """Whether a whole node was left out for what is wrong with it: all that names it would be told of for the same reason."""
    return any(one.key[:1] == ("nodes",) and len(one.key) < 3 for one in found)


def _without(value: object, keys: set[Key], at: Key = ()) -> object:
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value).items()
        return {name: _without(one, keys, (*at, name)) for name, one in pairs if (*at, name) not in keys}
    if isinstance(value, list):
        return [_without(one, keys, (*at, place)) for place, one in enumerate(cast("list[object]", value))]
    return value


def nodes(config: Mapping[str, object], surroundings: Surroundings) -> Iterator[Problem]:
    """Kinds that are not there, and options that they do not have."""
    given = config.get("nodes")
    if not isinstance(given, Mapping):
        return
    common = {*NodeTable.model_fields}
    for name, table in cast("Mapping[str, object]", given).items():
        kind_name = cast("Mapping[str, object]", table).get("kind") if isinstance(table, Mapping) else None
        if not isinstance(kind_name, str):
            continue
        kind = surroundings.kinds.get(kind_name)
        if kind is None:
            hint = meant(kind_name, surroundings.kinds)
            yield Problem(
                AGENT_FILE, f"there is no kind of node “{kind_name}”", ("nodes", name, "kind"), hint
            )
            continue
        own = {key: value for key, value in cast("Mapping[str, object]", table).items() if key not in common}
        try:
            kind.options.model_validate(own)
        except ValidationError as error:
            known = (*common, *kind.options.model_fields)
            yield from told(
                error, kind.options, ("nodes", name), known, f"the kind {kind_name} has no option"
            )
        yield from _renamed(name, cast("Mapping[str, object]", table), kind.input_model, "reads")
        yield from _renamed(name, cast("Mapping[str, object]", table), kind.output_model, "writes")


def _renamed(name: str, table: Mapping[str, object], model: type[BaseModel], key: str) -> Iterator[Problem]:
    given = table.get(key)
    for field in cast("Mapping[str, object]", given) if isinstance(given, Mapping) else ():
        if field not in model.model_fields:
            place: Key = ("nodes", name, key, field)
            yield Problem(
                AGENT_FILE, f"the node {key} no field “{field}”", place, meant(field, model.model_fields)
            )


def collections(config: AgentConfig) -> Iterator[Problem]:
    """Names of collections that no collection can have, or that stand twice."""
    given = config.retrieval.collections
    for place, name in enumerate(given):
        key: Key = ("retrieval", "collections", place)
        if not COLLECTION.fullmatch(name):
            yield Problem(
                AGENT_FILE,
                f"“{name}” is no id of a collection: small letters, digits and -, at most 63, the first one no -",
                key,
                _id(name.removeprefix("collections/")),
            )
        elif name in given[:place]:
            yield Problem(AGENT_FILE, f"the collection “{name}” stands here twice", key)


def _id(name: str) -> str:
    """What somebody may have meant by a name that is no id, "" for no idea."""
    found = re.sub(r"[\s_.]+", "-", name.strip().lower())
    return found if COLLECTION.fullmatch(found) else ""


def secrets(value: object, key: Key = (), *, by_name: bool = True) -> Iterator[Problem]:
    """Keys and tokens in the file. They are never shown. by_name: also what is only called so."""
    if isinstance(value, Mapping):
        for name, one in cast("Mapping[str, object]", value).items():
            if by_name and isinstance(one, str) and one and _SECRET_KEY.search(name.lower()):
                yield Problem(
                    AGENT_FILE,
                    "looks like a secret by its name; secrets come from the environment or secret files alone",
                    (*key, name),
                )
            else:
                yield from secrets(one, (*key, name), by_name=by_name)
    elif isinstance(value, list | tuple):
        for place, one in enumerate(cast("Sequence[object]", value)):
            yield from secrets(one, (*key, place), by_name=by_name)
    elif isinstance(value, str) and SECRET.search(value):
        yield Problem(AGENT_FILE, _HELD, key)


def secrets_beside(files: AgentFiles) -> Iterator[Problem]:
    """Keys and tokens in prompts, their front matter, partials and examples."""
    texts = {one.file: (one.body, one.body_line) for one in files.prompts.values()}
    texts |= {one.file: (one.text, 1) for one in files.partials.values()}
    texts |= {path: (data.decode(errors="replace"), 1) for path, data in files.examples.items()}
    for file, (text, first) in texts.items():
        for found in SECRET.finditer(text) if may_hold(text) else ():
            line = first + text.count("\n", 0, found.start())
            yield Problem(file, _HELD, line=line)
    for one in files.prompts.values():
        # Variables may be called whatever they are.
        if may_hold(one.front.model_dump_json(exclude_unset=True)):
            for held in secrets(one.front.model_dump(exclude_unset=True), by_name=False):
                yield replace(held, file=one.file)


def told(
    error: ValidationError,
    model: type[BaseModel],
    prefix: Key = (),
    known: Sequence[str] = (),
    unknown: str = "there is no key",
    file: str = AGENT_FILE,
) -> Iterator[Problem]:
    """What a model refuses, in words for people. known: the keys of the table itself where more is allowed there than the model has."""
    seen = set[Key]()
    for one in error.errors(include_url=False):
        place = tuple(
            part
            for part in one["loc"]
            if part not in _UNIONS and not str(part).startswith(("function-", "constrained-"))
        )
        if place and place[-1] == "[key]":
            place = place[:-1]
        if place in seen:  # each branch of a union complains
            continue
        seen.add(place)
        given, context = one["input"], one.get("ctx", {})
        message, hint = "", ""
        match one["type"]:
            case "extra_forbidden":
                name = place[-1]
                message = f"{unknown} “{name}”" + ("" if known else " here")
                hint = meant(name, known or _keys(model, place[:-1]))
            case "missing":
                message = f"“{place[-1]}” is missing"
                place = place[:-1] if len(place) > 1 else place
            case "literal_error":
                allowed = re.findall(r"'([^']*)'", str(context.get("expected", "")))
                message, hint = f"must be {_either(allowed)}, not {_shown(given)}", meant(given, allowed)
            case "greater_than_equal":
                message = f"must be at least {_number(context['ge'])}, not {_shown(given)}"
            case "greater_than":
                message = f"must be more than {_number(context['gt'])}, not {_shown(given)}"
            case "less_than_equal":
                message = f"must be at most {_number(context['le'])}, not {_shown(given)}"
            case "less_than":
                message = f"must be less than {_number(context['lt'])}, not {_shown(given)}"
            case "finite_number":
                message = f"must be a number that can be counted with, not {given}"
            case "string_pattern_mismatch":
                message = f"“{given}” is no name: small letters, digits and _, the first one a letter"
            case "value_error":
                message = str(context.get("error", one["msg"]))
            case "string_too_short" | "too_short" | "too_long" | "string_too_long":
                message = _length(one["type"], context)
            case kind if kind in _TYPES:
                message = f"must be {_TYPES[kind]}, not {_shown(given)}"
            case _:
                message = one["msg"]
        yield Problem(file, message, (*prefix, *place), hint)


_UNIONS: Final = frozenset({"bool", "int", "float", "str", "dict[str,str]"})


def _keys(model: type[BaseModel], place: Sequence[object]) -> Sequence[str]:
    """The keys that the table at a place may have, as the file calls them."""
    current: Any = model
    for part in place:
        if isinstance(current, type) and issubclass(current, BaseModel):
            current = next(
                (
                    info.annotation
                    for name, info in current.model_fields.items()
                    if part in (name, info.alias)
                ),
                None,
            )
        else:
            arguments = get_args(current)
            current = (
                arguments[-1]
                if get_origin(current) is not tuple and arguments
                else arguments[0]
                if arguments
                else None
            )
        while not (isinstance(current, type) and issubclass(current, BaseModel)) and get_args(current):
            inner = [one for one in get_args(current) if one not in (type(None), Ellipsis)]
            if get_origin(current) in (tuple, dict) or str(get_origin(current)).endswith("Mapping'>"):
                break
            current = inner[0]
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [info.alias or name for name, info in current.model_fields.items()]


def _length(kind: str, context: Mapping[str, Any]) -> str:
    short, of_text = kind.endswith("short"), kind.startswith("string")
    bound = context["min_length" if short else "max_length"]
    if short and bound == 1:
        return f"must not be empty; give it at least one {'character' if of_text else 'entry'}"
    one, many = ("character", "characters") if of_text else ("entry", "entries")
    return f"must have at {'least' if short else 'most'} {bound} {one if bound == 1 else many}"


def _either(allowed: Sequence[str]) -> str:
    quoted = [f"“{one}”" for one in allowed]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: object) -> str:
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


def options_of(kind_options: type[NodeOptions], table: NodeTable) -> NodeOptions | None:
    """A node's options as their model, None where they are wrong."""
    try:
        return kind_options.model_validate(table.options)
    except ValidationError:
        return None
