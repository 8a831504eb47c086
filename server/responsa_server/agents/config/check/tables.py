"""Checks each table of `agent.toml` alone: keys and values, node options, models, parameters, collections. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from pydantic import ValidationError

from responsa_server.agents.config.check.flow import options_of
from responsa_server.agents.config.check.inputs import Surroundings
from responsa_server.agents.config.problems import (
    Key,
    Problem,
    clause,
    closest,
    from_validation,
    in_config,
    quoted,
)
from responsa_server.agents.engine.config import (
    DEFAULT_MODEL,
    FORMER_MODELS,
    PASSAGES,
    RESOURCE,
    AgentConfig,
    NodeTable,
)
from responsa_server.agents.engine.schemas import CheckedSchema
from responsa_server.agents.nodes.table import FORMER
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.lists import SEARCHED
from responsa_server.domain.tools import EVERY_TOOL

_COLLECTION: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PARAMETER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def tables(config: Mapping[str, object]) -> tuple[AgentConfig | None, Sequence[Problem]]:
    """The configuration as an `AgentConfig`, and the problems of its values.

    A wrong value is replaced with its default, so that the other checks can run. If a wrong value has no default, the first
    result is None.
    """
    try:
        return AgentConfig.model_validate(config), []
    except ValidationError as error:
        found = list(from_validation(error, AgentConfig))
    try:
        return AgentConfig.model_validate(_without(config, {one.key for one in found})), found
    except ValidationError:
        return None, found


def _without(value: object, keys: set[Key], at: Key = ()) -> object:
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value).items()
        return {name: _without(one, keys, (*at, name)) for name, one in pairs if (*at, name) not in keys}
    if isinstance(value, list):
        return [_without(one, keys, (*at, place)) for place, one in enumerate(cast("list[object]", value))]
    return value


def node_tables(config: Mapping[str, object], surroundings: Surroundings) -> Iterator[Problem]:
    """Unknown kinds of nodes, and options and fields that the node's kind does not have."""
    given = config.get("nodes")
    for name, table in cast("Mapping[str, object]", given).items() if isinstance(given, Mapping) else ():
        # A TOML table's members have no types.
        if not isinstance(table, Mapping) or not isinstance(table.get("kind"), str):  # pyright: ignore[reportUnknownMemberType]
            continue
        values = cast("Mapping[str, object]", table)
        kind_name = cast("str", values["kind"])
        kind = surroundings.kinds.get(kind_name)
        if kind is None:
            at, message = ("nodes", name, "kind"), f"there is no kind of node “{kind_name}”"
            if (successor := FORMER.get(kind_name)) is not None:
                yield in_config(
                    at, f"the kind of node “{kind_name}” no longer exists; “{successor}” replaces it"
                )
            else:
                yield in_config(at, message, closest(kind_name, surroundings.kinds))
            continue
        common = NodeTable.model_fields
        try:
            kind.options.model_validate({key: one for key, one in values.items() if key not in common})
        except ValidationError as error:
            known = (*common, *kind.options.model_fields)
            unknown = f"the kind {kind_name} has no option “{{}}”"
            yield from from_validation(error, kind.options, ("nodes", name), known, unknown)
        for renames, model in (("reads", kind.input_model), ("writes", kind.output_model)):
            fields = values.get(renames)
            for field in cast("Mapping[str, object]", fields) if isinstance(fields, Mapping) else ():
                if field not in model.model_fields:
                    yield in_config(
                        ("nodes", name, renames, field),
                        f"the node {renames} no field “{field}”",
                        closest(field, model.model_fields),
                    )


def models(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Models of the chain that are not available, or that no turn would ask."""
    chain = config.model.chain
    for place, name in enumerate(chain):
        key: Key = ("model", "chain", place)
        if name in chain[:place]:
            yield in_config(
                key,
                f"“{name}” is in the chain twice; an unavailable model is not asked again, so remove it here",
            )
        elif name == PASSAGES:
            if place < len(chain) - 1:
                yield in_config(
                    key,
                    "“passages” is never unavailable, so the models after it are never asked; move it to the end",
                )
        elif name in FORMER_MODELS:
            yield in_config(key, f"the model “{name}” no longer exists; “{FORMER_MODELS[name]}” replaces it")
        elif name != DEFAULT_MODEL and (why := surroundings.models.problem(name)) is not None:
            message = f"the model “{name}” is not available: {clause(why)}"
            yield in_config(key, message, _suggested_model(name, surroundings))


def _suggested_model(name: str, surroundings: Surroundings) -> str:
    """A likely correction: the same model of a provider with a similar name, or a similarly named model."""
    provider, _, model = name.partition(":")
    close = closest(provider, surroundings.providers) if provider not in surroundings.providers else ""
    return f"{close}:{model}" if close and model else closest(name, surroundings.suggested_models)


def collections(config: AgentConfig) -> Iterator[Problem]:
    """Malformed and repeated names of collections."""
    table = config.retrieval
    lists: list[tuple[Key, Sequence[str]]] = [
        (("retrieval", "collections"), table.collections),
        *(
            (("retrieval", "sources", name, "collections"), one.collections)
            for name, one in table.sources.items()
        ),
    ]
    for at, names in lists:
        for place, name in enumerate(names):
            key: Key = (*at, place)
            if not _COLLECTION.fullmatch(name):
                likely = re.sub(r"[\s_.]+", "-", name.removeprefix("collections/").strip().lower())
                yield in_config(
                    key,
                    f"“{name}” is not a valid id of a collection: use at most 63 lower-case letters, digits and “-”, and no “-” first",
                    likely if _COLLECTION.fullmatch(likely) else "",
                )
            elif name in names[:place]:
                yield in_config(key, f"the collection “{name}” is listed twice")


def subject(config: AgentConfig) -> Iterator[Problem]:
    """The problems of `retrieval.subject`. An agent that reads only documents about its caller must not have tools,
    because a tool searches with all rights of the caller.
    """
    if config.retrieval.subject and config.tools.use:
        yield in_config(
            ("tools", "use"),
            f"must be empty with retrieval.subject = “{config.retrieval.subject}”, which does not limit what tools return",
        )


def sources(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Sources that no question can choose, values that choose no source, filters that cannot be read, sources that a
    model would have to choose unseen, and examples with sources that do not exist."""
    table = config.retrieval
    key: Key = ("retrieval", "source_parameter")
    if bool(table.sources) != bool(table.source_parameter):
        missing = "source_parameter" if table.sources else "sources"
        yield in_config(("retrieval",), f"sources and source_parameter need each other; add {missing}")
    elif table.sources:
        schema = config.parameters.properties.get(table.source_parameter)
        if schema is None:
            yield in_config(
                key,
                f"there is no parameter “{table.source_parameter}”",
                closest(table.source_parameter, config.parameters.properties),
            )
        else:
            values = cast("Sequence[object]", schema.get("enum", ()))
            if set(values) != set(table.sources):
                yield in_config(
                    key,
                    (
                        f"the values (enum) of the parameter “{table.source_parameter}” must be the names of the "
                        f"sources: {quoted(sorted(table.sources))}"
                    ),
                )
    for name, entry in table.sources.items():
        try:
            parse_filter(SEARCHED, entry.filter)
        except InvalidRequest as error:
            yield in_config(
                ("retrieval", "sources", name, "filter"),
                f"is not a valid filter: {error.message.removeprefix('filter: ')}",
            )
    for name, node in config.nodes.items():
        if node.kind != "query_expander":
            continue
        examples: Any = getattr(options_of(surroundings.kinds[node.kind], node), "examples", ())
        for place, example in enumerate(examples):
            for source in example.sources:
                if source not in table.sources:
                    yield in_config(
                        ("nodes", name, "examples", place, "sources"),
                        f"there is no source “{source}”; the sources are {quoted(sorted(table.sources)) or 'none'}",
                        closest(source, table.sources),
                    )
        if node.options.get("sources") is not True:
            continue
        if not table.sources:
            yield in_config(
                ("nodes", name, "sources"),
                "there are no sources to choose from; describe them in retrieval.sources",
            )
        for source, entry in table.sources.items():
            if not entry.description:
                yield in_config(
                    ("retrieval", "sources", source),
                    f"needs a description, because “{name}” lets a model choose among the sources",
                )


_TEACHERS: Final = "teachers"
_TYPES: Final = ("string", "integer", "number", "boolean")
_MOST_BYTES: Final = 16 * 1024
_MOST_NESTED: Final = 5
_MOST_SUBSCHEMAS: Final = 100
_KEYWORDS: Final = (
    *("type", "enum", "const", "default", "title", "description", "examples", "format", "pattern"),
    *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("oneOf", "anyOf", "allOf", "not", "if", "then", "else", "deprecated", "readOnly", "writeOnly"),
    *("$comment", RESOURCE),
)
"""The keywords of the schema of a parameter, which is a text, a number, or true or false."""


def parameters(config: AgentConfig) -> Iterator[Problem]:
    """Schemas of parameters that are malformed or contradict themselves."""
    properties, problems = config.parameters.properties, list[Problem]()
    for name, schema in properties.items():
        key: Key = ("parameters", "properties", name)
        if not _PARAMETER.fullmatch(name):
            yield in_config(
                key,
                f"“{name}” is not a valid name for a parameter: use at most 63 letters, digits and “_”, and no digit first",
                re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") if not name[:1].isdigit() else "",
            )
        problems += _parameter(schema, key)
    yield from problems
    try:
        CheckedSchema({"properties": properties})
    except ValueError as error:
        if not problems:
            yield in_config(("parameters",), f"all parameters together: {str(error).splitlines()[0]}")
    for place, name in enumerate(config.parameters.required):
        if name not in properties:
            yield in_config(
                ("parameters", "required", place),
                f"the required parameter “{name}” is not among the properties",
                closest(name, properties),
            )


def _parameter(schema: Mapping[str, Any], key: Key) -> Iterator[Problem]:
    if len(json.dumps(schema, ensure_ascii=False).encode()) > _MOST_BYTES:
        yield in_config(key, f"has more than {_MOST_BYTES // 1024} KiB; shorten it")
        return
    nested = list(_nested(schema))
    if len(nested) > _MOST_SUBSCHEMAS or any(level > _MOST_NESTED for level, _, _ in nested):
        message = f"has more than {_MOST_SUBSCHEMAS} schemas, or more than {_MOST_NESTED} within one another; use “enum” for a choice"
        yield in_config(key, message)
        return
    # Other keywords that begin with x- are the author's own notes, unless they look like a misspelt RESOURCE.
    unknown = [
        (*at, word)
        for _, at, one in nested
        for word in one
        if word not in _KEYWORDS and (not word.startswith("x-") or closest(word, [RESOURCE]))
    ]
    for at in unknown:
        message = f"the schema of a parameter has no keyword “{at[-1]}”"
        yield in_config((*key, *at), message, closest(str(at[-1]), _KEYWORDS))
    if unknown:
        return
    kind = schema.get("type")
    if kind is not None and kind not in _TYPES:
        yield in_config((*key, "type"), f"must be one of {quoted(_TYPES)}", closest(str(kind), _TYPES))
        return
    resource = schema.get(RESOURCE)
    if resource not in (None, _TEACHERS):
        message = f"must be “{_TEACHERS}”"
        yield in_config((*key, RESOURCE), message, closest(str(resource), [_TEACHERS]))
    elif resource is not None and kind != "string":
        yield in_config(key, f"a parameter with {RESOURCE} needs type = “string”")
    try:
        checked = CheckedSchema(schema)
    except ValueError as error:
        at = getattr(error, "instance_path", None) or ()
        why = str(getattr(error, "message", error)).splitlines()[0]
        yield in_config((*key, *at), f"is not a valid JSON Schema: {why}")
        return
    listed = cast("Sequence[object]", schema.get("enum", ()))
    if kind is None and not listed and "const" not in schema:
        yield in_config(key, "a parameter needs a type, or a list of its values (enum)")
        return
    values: list[tuple[Key, object]] = [(("enum", place), one) for place, one in enumerate(listed)]
    if "default" in schema:
        values.append((("default",), schema["default"]))
    for at, value in values:
        if (error := checked.error(value)) is not None:
            yield in_config(
                (*key, *at),
                f"does not match its schema: {error.message.splitlines()[0]}",
                closest(value, [item for item in listed if isinstance(item, str) and item != value]),
            )


def _nested(schema: Mapping[str, Any]) -> Iterator[tuple[int, Key, Mapping[str, Any]]]:
    """A schema and all within it, each with its level and its place, and none below the level after the deepest that is allowed."""
    left: list[tuple[int, Key, Mapping[str, Any]]] = [(0, (), schema)]
    for level, at, one in left:
        yield level, at, one
        if level > _MOST_NESTED:
            continue
        for word in ("oneOf", "anyOf", "allOf", "not", "if", "then", "else"):
            value = cast("object", one.get(word))
            several = cast("list[object]", value) if isinstance(value, list) else ()
            found: list[tuple[Key, object]] = [
                ((*at, word, place), item) for place, item in enumerate(several)
            ]
            for where, item in [*found, ((*at, word), cast("object", value))]:
                if isinstance(item, dict):
                    left.append((level + 1, where, cast("dict[str, Any]", item)))


_TOOL: Final = re.compile(r"[a-z][a-z0-9_-]{0,126}|\*")


def tools(config: AgentConfig) -> Iterator[Problem]:
    """Problems of the table `tools`, and of nodes that request tools which nothing calls. `missing_tools` says which tools do not exist."""
    use = config.tools.use
    for place, name in enumerate(use):
        if not _TOOL.fullmatch(name):
            message = f"“{name}” is not a valid name of a tool: use lower-case letters, digits, “-” and “_”, with a letter first"
            yield in_config(("tools", "use", place), message)
        elif name in use[:place]:
            yield in_config(("tools", "use", place), f"“{name}” is listed twice; remove one")
    calls = any(table.kind == "tool_caller" for table in config.nodes.values())
    for name, table in config.nodes.items():
        asks = table.kind == "prompt" and table.options.get("tools") is True
        if not asks and table.kind not in ("tool_chooser", "tool_requester"):
            continue
        key = ("nodes", name, "tools" if asks else "kind")
        if not use:
            message = f"“{name}” may request tools, but the agent uses none; name them in tools.use"
            yield in_config(key, message)
        if not calls:
            message = f"“{name}” may request tools, but no node calls them; add a node of the kind “tool_caller” and an edge to it"
            yield in_config(key, message)


def missing_tools(config: AgentConfig, known: Collection[str]) -> Iterator[Problem]:
    """A note for each tool that the agent names and the server does not have. The agent works without it. known: the names of the tools."""
    for place, name in enumerate(config.tools.use):
        if name not in known and name != EVERY_TOOL:
            message = f"the server has no tool “{name}”, so the agent works without it; declare it in the tools' folder"
            # A suggestion must not be a tool that the agent lists already.
            yield in_config(("tools", "use", place), message, closest(name, {*known} - {*config.tools.use}))
