"""The kind `openapi`: operations picked from an OpenAPI 3.0 or 3.1 file in the tools folder, each a tool (https://spec.openapis.org/oas/v3.1.1.html).

Parameters of paths, queries and headers become parameters of the tool with their names; a JSON body becomes the parameter `body`. The file is read at the start; no reference of it leads
to another file or address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import yaml
from pydantic import Field

from responsa_server.domain.tools import Declaration, Tool, ToolCard, ToolUnfit
from responsa_server.outbound.connector import Outgoing
from responsa_server.tools.endpoint import AllowPrivate, Auth, endpoint_of
from responsa_server.tools.http_api import HttpApiTool, Request, effect_of, plain
from responsa_server.tools.kinds import ToolKind, ToolOptions, ToolParts, described

_METHODS: Final = ("get", "head", "post", "put", "patch", "delete")
_MOST_FILE: Final = 8 << 20
_MOST_ID: Final = 63
_MOST_DESCRIPTION: Final = 1024
_LOCAL: Final = "#/components/schemas/"
_JSON: Final = re.compile(r"application/(?:[\w.+-]+\+)?json", re.ASCII)
# Keys of OpenAPI's schemas that are not JSON Schema, or that say nothing about a value.
_DROPPED: Final = ("discriminator", "xml", "externalDocs", "example", "nullable")

Json = Mapping[str, Any]


_FORMS: Final = (
    ("bool", r"true|false|True|False|TRUE|FALSE", (*"tfTF",)),
    ("null", r"~|null|Null|NULL|", (*"~nN", "")),
    ("int", r"-?(?:0|[1-9][0-9]*)", (*"-0123456789",)),
    ("float", r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", (*"-0123456789",)),
    ("merge", r"<<", ("<",)),
)
# The types of plain values, by the values' first characters.
_RESOLVERS: Final = {
    first: [
        (f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{form})$"))
        for tag, form, starts in _FORMS
        if first in starts
    ]
    for first in ("", *"tfTF~nN-0123456789<")
}


class _Loader(yaml.SafeLoader):
    """Reads YAML as JSON, as OpenAPI asks for: keys are texts, and dates, `on`, `yes` and `0x1f` are texts, too (YAML 1.2, section 10.2)."""

    yaml_implicit_resolvers = _RESOLVERS

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


class OpenApiOptions(ToolOptions):
    """The keys of a declaration with `kind = "openapi"`."""

    file: str = Field(description="The OpenAPI file, JSON or YAML, in the tools folder.")
    operations: list[str] = Field(
        min_length=1,
        max_length=100,
        description='The operations that become tools: the `operationId`, or method and path such as `"GET /pets/{id}"`.',
    )
    server: str = Field(
        default="",
        description="The address of the API. Empty: the file's first server, if it is a complete address.",
    )
    headers: dict[str, str] = Field(default={}, description="Headers with fixed values.")
    auth: Auth | None = Field(
        default=None,
        description="How a call authenticates itself. The file's own security schemes are not read.",
    )
    checked: bool = Field(
        default=False,
        description="Whether results must match the schema of the response in the OpenAPI file. Many APIs deviate from their OpenAPI file.",
    )
    allow_private: AllowPrivate = ()


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """How arguments become a request of an operation. header_names: the parameters that are headers. joined: the parameters whose lists are one text with commas. body: whether the operation has a body."""

    base: Request
    header_names: Sequence[str]
    joined: frozenset[str]
    body: bool

    def fill(self, arguments: Mapping[str, object]) -> Outgoing:
        given = {
            name: ",".join(plain(item) for item in cast("list[object]", one))
            if name in self.joined and isinstance(one, list)
            else one
            for name, one in arguments.items()
        }
        filled = self.base.fill(given)
        headers = {name: one for name, one in filled.headers.items() if name != "content-type"}
        for name in self.header_names:
            value = arguments.get(name)
            if value is None:
                continue
            text = plain(value)
            if not text.isprintable() or not text.isascii():
                raise ValueError(
                    f"{name} is a header, and its value has characters that a header cannot hold"
                )
            headers[name.lower()] = text
        if not self.body or "body" not in arguments:
            return Outgoing(filled.method, filled.url, headers)
        headers["content-type"] = "application/json"
        body = json.dumps(arguments["body"], ensure_ascii=False).encode()
        return Outgoing(filled.method, filled.url, headers, body)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as a tool."""

    card: ToolCard
    request: OperationRequest
    url: str


def operations_of(declaration: Declaration, options: OpenApiOptions) -> Sequence[Operation]:
    """Read the file and return the picked operations. Raises ToolUnfit."""
    document = _document(Path(declaration.folder), options.file)
    server = options.server or _server(document, options.file)
    listed = {key: (method, path) for method, path, key in _listed(document)}
    made: dict[str, Operation] = {}
    for place, wanted in enumerate(options.operations):
        if wanted not in listed:
            known = ", ".join(list(listed)[:8])
            message = f"{options.file} has no operation {wanted!r}; it has {known}"
            raise ToolUnfit(message, ("operations", place), given=wanted, known=list(listed))
        method, path = listed[wanted]
        try:
            found = _Reader(document, options.file).operation(
                declaration, method, path, server.rstrip("/"), options
            )
        except ToolUnfit as error:
            raise ToolUnfit(str(error), ("operations", place)) from error
        if found.card.id in made:
            raise ToolUnfit(
                f"two operations of {options.file} would be the tool {found.card.id!r}; give one its own declaration",
                ("operations", place),
            )
        made[found.card.id] = found
    return list(made.values())


def _document(folder: Path, file: str) -> Json:
    path = (folder / file).resolve()
    if folder.resolve() not in path.parents:
        raise ToolUnfit(f"{file!r} is not in the tools folder; put the file there", ("file",))
    try:
        if path.stat().st_size > _MOST_FILE:
            message = f"{file} has more than {_MOST_FILE >> 20} MiB; leave out what no operation needs"
            raise ToolUnfit(message, ("file",))
        text = path.read_text(encoding="utf-8")
        found: object = json.loads(text) if path.suffix == ".json" else yaml.load(text, _Loader)  # noqa: S506 # a SafeLoader
    except OSError as error:
        raise ToolUnfit(f"{file} cannot be read: {error.strerror}", ("file",)) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ToolUnfit(f"{file} is not valid {_syntax(path, error)}; correct it there", ("file",)) from error
    document = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    version = str(document.get("openapi", ""))
    if not version.startswith(("3.0.", "3.1.")):
        raise ToolUnfit(f"{file} is not an OpenAPI 3.0 or 3.1 file; convert it first", ("file",))
    return document


def _syntax(path: Path, error: Exception) -> str:
    """The format that a file does not keep to, the place in the file, and what is wrong there, in one line."""
    match error:
        case json.JSONDecodeError():
            return f"JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        case yaml.MarkedYAMLError():
            mark, why = error.problem_mark, " ".join((error.problem or "it cannot be read").split())
            where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            return f"YAML{where}: {why[:200]}"
        case UnicodeDecodeError():
            return "UTF-8"
        case RecursionError():
            return "JSON or YAML: it is nested too deeply"
        case _:
            return f"{'JSON' if path.suffix == '.json' else 'YAML'}: {' '.join(str(error).split())[:200]}"


def _server(document: Json, file: str) -> str:
    servers: object = document.get("servers")
    first = cast("list[object]", servers)[0] if isinstance(servers, list) and servers else None
    url = str(_object(first).get("url", ""))
    if not url.startswith(("https://", "http://")) or "{" in url:
        raise ToolUnfit(
            f'{file} names no complete address of a server; set server = "https://…"', ("server",)
        )
    return url


def _listed(document: Json) -> Iterator[tuple[str, str, str]]:
    """The method, path and name of each operation, once by its operationId and once by method and path."""
    for path, item in _object(document.get("paths")).items():
        for method in _METHODS:
            operation = _object(item).get(method)
            if isinstance(operation, dict):
                yield method, path, f"{method.upper()} {path}"
                identity = cast("dict[str, Any]", operation).get("operationId")
                if isinstance(identity, str):
                    yield method, path, identity


@dataclass(slots=True)
class _Reader:
    document: Json
    file: str
    definitions: dict[str, object] = field(default_factory=dict[str, object])

    def operation(
        self,
        declaration: Declaration,
        method: str,
        path: str,
        server: str,
        options: OpenApiOptions,
    ) -> Operation:
        item = _object(_object(self.document["paths"])[path])
        operation = _object(item[method])
        where = f"{method.upper()} {path} of {self.file}"
        properties: dict[str, object] = {}
        required: list[str] = []
        query: dict[str, str] = {}
        header_names: list[str] = []
        joined: set[str] = set()
        for parameter in self._parameters(item, operation):
            key, place = str(parameter.get("name", "")), parameter.get("in")
            if place == "cookie" or (
                place == "header" and key.lower() in ("accept", "content-type", "authorization")
            ):
                continue
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", key):
                raise ToolUnfit(
                    f"{where}: the parameter {key[:80]!r} has a name that a tool's parameter cannot have"
                )
            if key in properties:
                raise ToolUnfit(f"{where}: two parameters have the name {key!r}")
            schema = self._schema(_object(parameter.get("schema")))
            if parameter.get("style") == "deepObject" or "content" in parameter:
                raise ToolUnfit(
                    f"{where}: the parameter {key!r} is an object in the query, which is not supported"
                )
            if parameter.get("description"):
                schema = {"description": str(parameter["description"]), **schema}
            properties[key] = schema
            if parameter.get("required") or place == "path":
                required.append(key)
            if place == "query":
                query[key] = f"{{{key}}}"
                if parameter.get("explode") is False:
                    joined.add(key)
            elif place == "header":
                header_names.append(key)
        has_body = self._body(operation, where, properties, required)
        card = ToolCard(
            _tool_id(declaration.name, str(operation.get("operationId") or f"{method}-{path}")),
            described(KIND, declaration, _description(operation)),
            self._closed(properties, required),
            str(operation.get("summary") or declaration.title)[:120],
            self._returns(operation) if options.checked else None,
        )
        missing = [one for one in re.findall(r"\{([^{}]+)\}", path) if one not in properties]
        if missing:
            raise ToolUnfit(f"{where}: the place {{{missing[0]}}} of the path has no parameter")
        base = Request(
            method.upper(),
            server + path,
            query,
            {**options.headers, "accept": "application/json, text/*;q=0.5"},
            {},
        )
        return Operation(card, OperationRequest(base, header_names, frozenset(joined), has_body), server)

    def _parameters(self, item: Json, operation: Json) -> Sequence[Json]:
        """The parameters of a path and of its operation; the operation's replace those of the path."""
        found: dict[tuple[object, object], Json] = {}
        for holder in (item, operation):
            for one in cast("list[object]", holder.get("parameters") or []):
                parameter = self._resolved(_object(one))
                found[parameter.get("name"), parameter.get("in")] = parameter
        return list(found.values())

    def _body(self, operation: Json, where: str, properties: dict[str, object], required: list[str]) -> bool:
        body = self._resolved(_object(operation.get("requestBody")))
        if not body:
            return False
        schema = self._json_content(body)
        if schema is None:
            raise ToolUnfit(f"{where}: its body is not JSON, which is not supported")
        if "body" in properties:
            raise ToolUnfit(f"{where}: it has a parameter named body, and a body")
        properties["body"] = self._schema(schema)
        if body.get("required"):
            required.append("body")
        return True

    def _json_content(self, holder: Json) -> Json | None:
        for media_type, one in _object(holder.get("content")).items():
            if _JSON.fullmatch(media_type.partition(";")[0].strip().lower()):
                return _object(_object(one).get("schema"))
        return None

    def _returns(self, operation: Json) -> Mapping[str, object] | None:
        responses = _object(operation.get("responses"))
        for status in ("200", "201", "2XX", "default"):
            if status in responses:
                content = self._json_content(self._resolved(_object(responses[status])))
                if content is None:
                    return None
                self.definitions.clear()
                schema = self._schema(content)
                return {**schema, "$defs": dict(self.definitions)} if self.definitions else schema
        return None

    def _closed(self, properties: Mapping[str, object], required: Sequence[str]) -> Mapping[str, object]:
        schema: dict[str, object] = {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        if required:
            schema["required"] = list(dict.fromkeys(required))
        if self.definitions:
            schema["$defs"] = dict(self.definitions)
        return schema

    def _resolved(self, value: Json, depth: int = 8) -> Json:
        """The object behind a reference within the file."""
        reference = value.get("$ref")
        if reference is None:
            return value
        found: object = self.document
        if not isinstance(reference, str) or not reference.startswith("#/") or not depth:
            raise ToolUnfit(
                f"{self.file}: the reference {str(reference)[:100]!r} leads out of the file; bundle the file first"
            )
        for part in reference[2:].split("/"):
            found = _object(found).get(part.replace("~1", "/").replace("~0", "~"))
        if not isinstance(found, dict):
            raise ToolUnfit(f"{self.file}: the reference {reference[:100]!r} leads nowhere")
        return self._resolved(cast("dict[str, Any]", found), depth - 1)

    def _schema(self, schema: Json) -> dict[str, object]:
        """A schema of OpenAPI as JSON Schema 2020-12. Named schemas go to `$defs`, so that a schema may contain itself."""
        reference = schema.get("$ref")
        if isinstance(reference, str):
            name = re.sub(r"[^A-Za-z0-9_.-]", "_", reference.removeprefix(_LOCAL).removeprefix("#/"))
            if name not in self.definitions:
                self.definitions[name] = {}
                self.definitions[name] = self._schema(self._resolved(schema))
            return {"$ref": f"#/$defs/{name}"}
        made = {
            key: self._inner(key, value)
            for key, value in schema.items()
            if key not in _DROPPED and not key.startswith("x-")
        }
        # OpenAPI 3.0: a bound is exclusive by a flag, and null by another one.
        for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if isinstance(made.get(flag), bool) and made.pop(flag) and bound in made:
                made[flag] = made.pop(bound)
        if schema.get("nullable") is True:
            if isinstance(made.get("type"), str):
                made["type"] = [made["type"], "null"]
                if isinstance(made.get("enum"), list):
                    made["enum"] = [*cast("list[object]", made["enum"]), None]
            else:
                return {"anyOf": [made, {"type": "null"}]}
        return made

    def _inner(self, key: str, value: object) -> object:
        if key in ("properties", "patternProperties", "$defs") and isinstance(value, dict):
            return {name: self._schema(_object(one)) for name, one in cast("dict[str, Any]", value).items()}
        if key in (
            "items",
            "additionalProperties",
            "not",
            "if",
            "then",
            "else",
            "contains",
            "propertyNames",
        ) and isinstance(value, dict):
            return self._schema(cast("dict[str, Any]", value))
        if key in ("allOf", "anyOf", "oneOf", "prefixItems") and isinstance(value, list):
            return [self._schema(_object(one)) for one in cast("list[object]", value)]
        return value


def _object(value: object) -> Json:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _tool_id(name: str, operation: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation)
    return f"{name}_{re.sub(r'[^a-z0-9]+', '_', words.lower()).strip('_')}"[:_MOST_ID].rstrip("_")


def _description(operation: Json) -> str:
    text = operation.get("description") or operation.get("summary") or ""
    return " ".join(str(text).split())[:_MOST_DESCRIPTION]


def _make(declaration: Declaration, options: OpenApiOptions, parts: ToolParts) -> Sequence[Tool]:
    made: list[Tool] = []
    for operation in operations_of(declaration, options):
        effect = declaration.effect or effect_of(operation.request.base.method)
        endpoint = endpoint_of(
            declaration, parts, operation.url, options.auth, options.allow_private, effect, "server"
        )
        made.append(
            HttpApiTool(
                operation.card,
                endpoint,
                operation.request,
                effect=effect,
                timeout_seconds=declaration.timeout_seconds,
                clock=parts.clock,
                read_html=parts.read_html,
            )
        )
    return made


KIND: Final = ToolKind(
    OpenApiOptions,
    _make,
    description="Calls an API of the organisation, as its OpenAPI file describes it.",
)
