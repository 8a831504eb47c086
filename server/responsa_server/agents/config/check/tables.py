"""Checks each table of `agent.toml` alone: keys and values, node options, models, parameters, collections. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from pydantic import ValidationError

from responsa_server.agents.config.check.graph import options_of
from responsa_server.agents.config.check.inputs import Surroundings
from responsa_server.agents.config.problems import (
    Key,
    Problem,
    clause,
    closest,
    from_validation,
    in_config,
    quote,
)
from responsa_server.agents.engine.config import (
    DEFAULT_MODEL,
    PASSAGES,
    RESOURCE,
    TEACHERS,
    AgentConfig,
    NodeTable,
)
from responsa_server.agents.engine.schemas import CheckedSchema
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.lists import SEARCHED
from responsa_server.domain.tools import EVERY_TOOL


def tables(config: Mapping[str, object]) -> tuple[AgentConfig | None, Sequence[Problem]]:
    """The configuration as an `AgentConfig`, and the problems of its values.

    A wrong value is replaced with its default, so that the other checks can run. If a wrong value has no default, the first
    result is None.
    """
    try:
        return AgentConfig.model_validate(config), []
    except ValidationError as error:
        problems = list(from_validation(error, AgentConfig))
    keys = set[Key]()
    for problem in problems:
        key = problem.key
        while key and isinstance(
            key[-1], int
        ):  # a list stays whole, so that its elements keep their positions
            key = key[:-1]
        keys.add(key)
    try:
        return AgentConfig.model_validate(_without(config, keys)), problems
    except ValidationError:
        return None, problems


def _without(value: object, keys: set[Key], at: Key = ()) -> object:
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value).items()
        return {name: _without(item, keys, (*at, name)) for name, item in pairs if (*at, name) not in keys}
    if isinstance(value, list):
        return [_without(item, keys, (*at, index)) for index, item in enumerate(cast("list[object]", value))]
    return value


def node_tables(config: Mapping[str, object], surroundings: Surroundings) -> Iterator[Problem]:
    """Unknown kinds of nodes, and options and fields that the node's kind does not have."""
    nodes = config.get("nodes")
    for name, table in cast("Mapping[str, object]", nodes).items() if isinstance(nodes, Mapping) else ():
        # A TOML table's members have no types.
        if not isinstance(table, Mapping) or not isinstance(table.get("kind"), str):  # pyright: ignore[reportUnknownMemberType]
            continue
        values = cast("Mapping[str, object]", table)
        kind_name = cast("str", values["kind"])
        kind = surroundings.kinds.get(kind_name)
        if kind is None:
            message = f"there is no kind of node “{kind_name}”"
            yield in_config(("nodes", name, "kind"), message, closest(kind_name, surroundings.kinds))
            continue
        common = NodeTable.model_fields
        try:
            kind.options.model_validate({key: option for key, option in values.items() if key not in common})
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
    for index, name in enumerate(chain):
        key: Key = ("model", "chain", index)
        if name == PASSAGES:
            if index < len(chain) - 1:
                message = "“passages” is never unavailable, so the models after it are never asked; move it to the end"
                yield in_config(key, message)
        elif name != DEFAULT_MODEL and (why := surroundings.models.problem(name)) is not None:
            message = f"the model “{name}” is not available: {clause(why)}"
            yield in_config(key, message, _suggest_model(name, surroundings))


def _suggest_model(name: str, surroundings: Surroundings) -> str:
    """A likely correction: the same model of a provider with a similar name, or a similarly named model."""
    provider, _, model = name.partition(":")
    close = closest(provider, surroundings.providers) if provider not in surroundings.providers else ""
    return f"{close}:{model}" if close and model else closest(name, surroundings.suggested_models)


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
    table, properties = config.retrieval, config.parameters.properties
    name, key = table.source_parameter, ("retrieval", "source_parameter")
    if bool(table.sources) != bool(name):
        missing = "source_parameter" if table.sources else "sources"
        yield in_config(("retrieval",), f"sources and source_parameter need each other; add {missing}")
    elif name and name not in properties:
        yield in_config(key, f"there is no parameter “{name}”", closest(name, properties))
    elif name and set(cast("Sequence[object]", properties[name].get("enum", ()))) != set(table.sources):
        message = f"the values (enum) of the parameter “{name}” must be the names of the sources: {quote(sorted(table.sources))}"
        yield in_config(key, message)
    for source, entry in table.sources.items():
        try:
            parse_filter(SEARCHED, entry.filter)
        except InvalidRequest as error:
            message = f"is not a valid filter: {error.message.removeprefix('filter: ')}"
            yield in_config(("retrieval", "sources", source, "filter"), message)
    for node, settings in config.nodes.items():
        if settings.kind != "query_expander":
            continue
        examples: Any = getattr(options_of(surroundings.kinds[settings.kind], settings), "examples", ())
        for index, example in enumerate(examples):
            for source in set(example.sources) - table.sources.keys():
                yield in_config(
                    ("nodes", node, "examples", index, "sources"),
                    f"there is no source “{source}”; the sources are {quote(sorted(table.sources)) or 'none'}",
                    closest(source, table.sources),
                )
        if settings.options.get("sources") is not True:
            continue
        if not table.sources:
            message = "there are no sources to choose from; describe them in retrieval.sources"
            yield in_config(("nodes", node, "sources"), message)
        for source, entry in table.sources.items():
            if not entry.description:
                message = f"needs a description, because “{node}” lets a model choose among the sources"
                yield in_config(("retrieval", "sources", source), message)


_TYPES: Final = ("string", "integer", "number", "boolean")
_MAX_BYTES: Final = 16 * 1024
_WITHIN: Final = ("oneOf", "anyOf", "allOf", "not", "if", "then", "else")
_KEYWORDS: Final = (
    *("type", "enum", "const", "default", "title", "description", "examples", "format", "pattern"),
    *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("deprecated", "readOnly", "writeOnly", "$comment", RESOURCE, *_WITHIN),
)
"""The keywords of the schema of a parameter, which is a text, a number, or true or false."""


def parameters(config: AgentConfig) -> Iterator[Problem]:
    """Schemas of parameters that are malformed or contradict themselves."""
    properties = config.parameters.properties
    problems = [
        problem
        for name, schema in properties.items()
        for problem in _parameter(schema, ("parameters", "properties", name))
    ]
    yield from problems
    try:
        CheckedSchema({"properties": properties})
    except ValueError as error:
        if not problems:
            yield in_config(("parameters",), f"all parameters together: {str(error).splitlines()[0]}")
    for index, name in enumerate(config.parameters.required):
        if name not in properties:
            message = f"the required parameter “{name}” is not among the properties"
            yield in_config(("parameters", "required", index), message, closest(name, properties))


def _parameter(schema: Mapping[str, Any], key: Key) -> Iterator[Problem]:
    if len(json.dumps(schema, ensure_ascii=False).encode()) > _MAX_BYTES:
        yield in_config(key, f"has more than {_MAX_BYTES // 1024} KiB; shorten it")
        return
    unknown = list(_unknown_keywords(schema, key))
    yield from unknown
    if unknown:
        return
    kind, listed = schema.get("type"), cast("Sequence[object]", schema.get("enum", ()))
    if kind is not None and kind not in _TYPES:
        yield in_config((*key, "type"), f"must be one of {quote(_TYPES)}", closest(str(kind), _TYPES))
        return
    resource = schema.get(RESOURCE, TEACHERS)
    if resource != TEACHERS:
        yield in_config((*key, RESOURCE), f"must be “{TEACHERS}”", closest(resource, [TEACHERS]))
    elif RESOURCE in schema and kind != "string":
        yield in_config(key, f"a parameter with {RESOURCE} needs type = “string”")
    try:
        checked = CheckedSchema(schema)
    except ValueError as error:
        at = getattr(error, "instance_path", None) or ()
        why = str(getattr(error, "message", error)).splitlines()[0]
        yield in_config((*key, *at), f"is not a valid JSON Schema: {why}")
        return
    if kind is None and not listed and "const" not in schema:
        yield in_config(key, "a parameter needs a type, or a list of its values (enum)")
        return
    values: list[tuple[Key, object]] = [(("enum", index), value) for index, value in enumerate(listed)]
    if "default" in schema:
        values.append((("default",), schema["default"]))
    for at, value in values:
        if (error := checked.error(value)) is not None:
            message = f"does not match its schema: {error.message.splitlines()[0]}"
            texts = [item for item in listed if isinstance(item, str)]
            yield in_config((*key, *at), message, closest(value, texts))


def _unknown_keywords(schema: Mapping[str, Any], key: Key) -> Iterator[Problem]:
    """The unknown keywords of a schema and of all schemas within it."""
    for word, value in schema.items():
        # Other keywords that begin with x- are the author's own notes, unless they look like a misspelt RESOURCE.
        if word not in _KEYWORDS and (not word.startswith("x-") or closest(word, [RESOURCE])):
            message = f"the schema of a parameter has no keyword “{word}”"
            yield in_config((*key, word), message, closest(word, _KEYWORDS))
        if word not in _WITHIN:
            continue
        parts: list[tuple[Key, Any]] = [((word,), value)]
        if isinstance(value, list):
            parts = [((word, index), part) for index, part in enumerate(cast("list[Any]", value))]
        for at, part in parts:
            if isinstance(part, dict):
                yield from _unknown_keywords(cast("dict[str, Any]", part), (*key, *at))


def tools(config: AgentConfig) -> Iterator[Problem]:
    """Nodes that request tools which nothing calls. `missing_tools` says which tools do not exist."""
    calls = any(table.kind == "tool_caller" for table in config.nodes.values())
    for name, table in config.nodes.items():
        asks = table.kind == "prompt" and table.options.get("tools") is True
        if not asks and table.kind not in ("tool_chooser", "tool_requester"):
            continue
        key = ("nodes", name, "tools" if asks else "kind")
        if not config.tools.use:
            message = f"“{name}” may request tools, but the agent uses none; name them in tools.use"
            yield in_config(key, message)
        if not calls:
            message = f"“{name}” may request tools, but no node calls them; add a node of the kind “tool_caller” and an edge to it"
            yield in_config(key, message)


def missing_tools(config: AgentConfig, known: Collection[str]) -> Iterator[Problem]:
    """A note for each tool that the agent names and the server does not have. The agent works without it. known: the names of the tools."""
    for index, name in enumerate(config.tools.use):
        if name not in known and name != EVERY_TOOL:
            message = f"the server has no tool “{name}”, so the agent works without it; declare it in the tools' folder"
            # A suggestion must not be a tool that the agent lists already.
            yield in_config(("tools", "use", index), message, closest(name, {*known} - {*config.tools.use}))
