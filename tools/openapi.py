"""Writes generated/openapi.json: the paths of REST as OpenAPI 3.1, from the descriptor set with its comments, rules and HTTP options.

Usage: python tools/openapi.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor

from responsa.rules import validate_pb2
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.chain import Method
from responsa_server.calls.methods import DESCRIPTORS, METHODS
from responsa_server.domain.errors import Reason
from responsa_server.transports.rest.handler import EVENT_STREAMS
from responsa_server.transports.rest.routes import Binding, bindings_of, parse
from responsa_server.transports.rest.streams import EVENTS, LINES

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "generated" / "openapi.json"
Tree = dict[str, Any]

_STATUS: Final = "google.rpc.Status"
_SECONDS: Final = r"^-?[0-9]+(\.[0-9]{1,9})?s$"
_KNOWN: Final[Mapping[str, Tree]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": _SECONDS, "examples": ["2.5s"]},
    "google.protobuf.FieldMask": {"type": "string", "description": "Names of fields, separated by commas."},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Empty": {"type": "object", "additionalProperties": False},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
    },
}
"""The messages whose JSON the JSON of protobuf defines."""
_BITS_64: Final = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}
_UNSIGNED: Final = {FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64}
_NUMBERS: Final = {FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE}


def document() -> Tree:
    """The whole document."""
    schemas = _Schemas(_comments())
    paths: dict[str, Tree] = {}
    for binding in sorted(_bindings(), key=lambda one: (_path(one), one.verb)):
        paths.setdefault(_path(binding), {})[binding.verb.lower()] = _operation(binding, schemas)
    paths |= _OTHER_PATHS
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Responsa API",
            "version": "1",
            "description": "The calls of Responsa over REST. Fields and parameters that the server does not know are refused by name.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "tags": [
            {"name": service.name, **_said(_first_sentence(schemas.comments.get(service.full_name, "")))}
            for service in DESCRIPTORS.values()
        ],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (`rsp_…`), or an access token from `POST /v1/auth:login`.",
                }
            },
            "responses": {
                "Error": {
                    "description": "An error. The HTTP status follows the code.",
                    "content": {"application/json": {"schema": _ref(_STATUS)}},
                }
            },
            "schemas": dict(sorted({**schemas.made, _STATUS: _ERROR}.items())),
        },
    }


_ERROR: Final[Tree] = {
    "type": "object",
    "description": "An error (google.rpc.Status).",
    "required": ["code", "message", "details"],
    "properties": {
        "code": {"type": "integer", "description": "A value of google.rpc.Code."},
        "message": {"type": "string", "description": "What went wrong and what to do, for a person."},
        "details": {
            "type": "array",
            "description": "An ErrorInfo, and further details.",
            "items": {
                "type": "object",
                "required": ["@type"],
                "properties": {
                    "@type": {"type": "string", "examples": ["type.googleapis.com/google.rpc.ErrorInfo"]},
                    "reason": {
                        "description": "In an ErrorInfo: the reason.",
                        "enum": [reason.value for reason in Reason],
                    },
                    "domain": {"type": "string"},
                    "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                    "fieldViolations": {
                        "type": "array",
                        "description": "In a BadRequest: the wrong fields.",
                        "items": {
                            "type": "object",
                            "properties": {
                                "field": {"type": "string"},
                                "description": {"type": "string"},
                                "reason": {"type": "string"},
                            },
                        },
                    },
                },
            },
        },
    },
}
_BYTES: Final[Tree] = {"schema": {"type": "string", "contentEncoding": "binary"}}


def _parameter(name: str, where: str, schema: Tree, description: str = "", *, required: bool = False) -> Tree:
    return {
        "name": name,
        "in": where,
        **({"required": True} if required else {}),
        **({"description": description} if description else {}),
        "schema": schema,
    }


def _ref(name: str) -> Tree:
    return {"$ref": f"#/components/schemas/{name}"}


def _answers(content: Mapping[str, Tree], description: str = "The response.") -> Tree:
    """The responses of an operation. content: by media type, the schema of a successful one."""
    return {
        "200": {
            "description": description,
            "content": {media_type: {"schema": schema} for media_type, schema in content.items()},
        },
        "default": {"$ref": "#/components/responses/Error"},
    }


_TEXT: Final[Tree] = {"type": "string"}
_OTHER_PATHS: Final[Mapping[str, Tree]] = {
    "/v1/uploads": {
        "put": {
            "operationId": "KnowledgeService.UploadDocument",
            "tags": ["KnowledgeService"],
            "summary": "Upload a document; the body is its bytes",
            "parameters": [
                _parameter("source_key", "query", _TEXT, "The key of the document.", required=True),
                *(
                    _parameter(name, "query", _TEXT)
                    for name in (
                        "collection",
                        "title",
                        "uri",
                        "media_type",
                        "subject",
                        "request_id",
                        "labels",
                        "metadata",
                    )
                ),
            ],
            "requestBody": {"required": True, "content": {"application/octet-stream": _BYTES}},
            "responses": _answers({LINES.media_type: _ref("google.longrunning.Operation")}),
        }
    },
    **{
        f"/v1/documents/{{document}}{path}/original": {
            "get": {
                "operationId": f"KnowledgeService.DownloadDocument{name}",
                "tags": ["KnowledgeService"],
                "summary": "Download a document as it was uploaded",
                "parameters": [
                    _parameter(part, "path", _TEXT, required=True)
                    for part in ("document", "version")
                    if part == "document" or path
                ],
                "responses": {
                    "200": {
                        "description": "The bytes, with the document's own media type.",
                        "content": {"application/octet-stream": _BYTES},
                    },
                    "default": {"$ref": "#/components/responses/Error"},
                },
            }
        }
        for path, name in (("", ""), ("/versions/{version}", "Version"))
    },
}
"""The paths that are not in the contract."""


def _bindings() -> Iterator[Binding]:
    """All paths of all methods."""
    methods = [
        Method(name, cast("Any", None), cast("Any", None), server_streaming=method.server_streaming)
        for name, method in METHODS.items()
    ]
    yield from bindings_of(methods)


def _tag(method: MethodDescriptor) -> str:
    return method.containing_service.name


def _segments(binding: Binding) -> Iterator[tuple[str, str]]:
    """Each segment of a path, and the name of its parameter, "" for a literal one."""
    segments, _, _ = parse(binding.template)
    names: list[str] = []
    for place, segment in enumerate(segments):
        if segment not in ("*", "**"):
            yield segment, ""
            continue
        name = _singular(segments[place - 1])
        names.append(name)
        yield f"{{{name}}}", name


def _singular(name: str) -> str:
    return f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")


def _path(binding: Binding) -> str:
    _, action, _ = parse(binding.template)
    return "/" + "/".join(segment for segment, _ in _segments(binding)) + (f":{action}" if action else "")


def _operation(binding: Binding, schemas: _Schemas) -> Tree:
    method = METHODS[binding.method.name]
    comment = schemas.comments.get(method.full_name, "")
    template = binding.template
    suffix = (
        ""
        if template == _first_template(method)
        else f".{_singular(parse(template)[0][1])}{len(parse(template)[0])}"
    )
    taken = {variable.field for variable in binding.variables}
    answer = schemas.named(method.output_type)
    content = {"application/json": _ref(answer)}
    description = "The response."
    if method.server_streaming:
        # As a text, because generated clients would read the whole body as one object.
        content = {LINES.media_type: _TEXT}
        description = f"The response: a stream of JSON objects, one per line, each a {answer}."
    if binding.method.name in EVENT_STREAMS:
        content[EVENTS.media_type] = _TEXT
        description += f" With `Accept: {EVENTS.media_type}`, a stream of server-sent events."
    operation: Tree = {
        "operationId": f"{_tag(method)}.{method.name}{suffix}",
        "tags": [_tag(method)],
        "summary": _first_sentence(comment),
        "description": comment,
        "parameters": [
            *(
                _parameter(name, "path", _part(binding, method.input_type, place), required=True)
                for place, (_, name) in enumerate(_segments(binding))
                if name
            ),
            *(() if binding.body == "*" else schemas.parameters(method.input_type, taken, binding.body)),
        ],
        "responses": _answers(content, description),
    }
    if EVENTS.media_type in content and not binding.body:
        operation["parameters"].append(
            _parameter(
                "Last-Event-ID",
                "header",
                {"type": "string", "pattern": "^[0-9]{1,18}$"},
                f"With {EVENTS.media_type}: in place of afterSeq.",
            )
        )
        operation["responses"]["204"] = {
            "description": f"With {EVENTS.media_type}: the turn has ended, and its last event has been read."
        }
    if RULES.get(binding.method.name) is Rule.PUBLIC:
        operation["security"] = []
    if binding.body:
        schema = (
            schemas.without(method.input_type, taken)
            if binding.body == "*"
            else _ref(
                schemas.named(cast("Descriptor", method.input_type.fields_by_name[binding.body].message_type))
            )
        )
        needed = any(_is_required(field) for field in method.input_type.fields if field.name not in taken)
        operation["requestBody"] = {"required": needed, "content": {"application/json": {"schema": schema}}}
    return operation


def _first_template(method: MethodDescriptor) -> str:
    return next(one.template for one in _bindings() if METHODS[one.method.name] is method)


def _part(binding: Binding, request: Descriptor, place: int) -> Tree:
    """The schema of a parameter of the path, with the part of the field's pattern that it must fit."""
    (variable,) = (
        one for one in binding.variables if one.start <= place and (one.end is None or place < one.end)
    )
    field = request
    found: FieldDescriptor | None = None
    for name in variable.field.split("."):
        found = field.fields_by_name[name]
        field = cast("Descriptor", found.message_type)
    assert found is not None
    pattern = found.GetOptions().Extensions[validate_pb2.field].string.pattern
    segments, _, _ = parse(binding.template)
    literals = "/".join(segments[variable.start : place])
    inner = pattern.removeprefix(f"^{literals}/").removesuffix("$")
    whole = place + 1 == (variable.end or len(segments))
    if whole and inner != pattern.removesuffix("$") and "/" not in inner:
        return {"type": "string", "pattern": f"^{inner}$"}
    return {"type": "string", "pattern": f"^{_ids().get(segments[place - 1], '[^/]+')}$"}


@cache
def _ids() -> Mapping[str, str]:
    """The pattern of an id, by the plural before it, from the fields whose names have no further part."""
    patterns = (
        field.GetOptions().Extensions[validate_pb2.field].string.pattern
        for method in METHODS.values()
        for field in method.input_type.fields
    )
    found = (re.fullmatch(r"\^(\w+)/([^/]+)\$", pattern) for pattern in patterns)
    return {one[1]: one[2] for one in found if one is not None}


def _comments() -> Mapping[str, str]:
    """The comments of messages, fields, enums, values and methods, by full name."""
    comments: dict[str, str] = {}
    files = descriptor_pb2.FileDescriptorSet.FromString(
        (ROOT / "generated" / "descriptor.binpb").read_bytes()
    )
    for file in files.file:
        names = {tuple(path): name for path, name in _named(file)}
        for location in file.source_code_info.location:
            name = names.get(tuple(location.path))
            if name and location.leading_comments:
                comments[name] = " ".join(location.leading_comments.split())
    return comments


def _named(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[Sequence[int], str]]:
    """The path in the file and the full name of each part. The numbers are those of the fields of descriptor.proto."""
    for i, message in enumerate(file.message_type):
        name = f"{file.package}.{message.name}"
        yield (4, i), name
        for j, field in enumerate(message.field):
            yield (4, i, 2, j), f"{name}.{field.name}"
    for i, enum in enumerate(file.enum_type):
        yield (5, i), f"{file.package}.{enum.name}"
        for j, value in enumerate(enum.value):
            yield (5, i, 2, j), f"{file.package}.{value.name}"
    for i, service in enumerate(file.service):
        yield (6, i), f"{file.package}.{service.name}"
        for j, method in enumerate(service.method):
            yield (6, i, 2, j), f"{file.package}.{service.name}.{method.name}"


class _Schemas:
    """The schemas of messages and enums. made: those that something refers to."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self.comments = comments
        self.made: dict[str, Tree] = {}

    def named(self, kind: Descriptor) -> str:
        """The name of a message's schema, which exists afterwards."""
        if kind.full_name not in self.made:
            self.made[kind.full_name] = {}  # messages may refer to themselves
            known = _KNOWN.get(kind.full_name)
            self.made[kind.full_name] = known or self._object(kind, kind.fields)
        return kind.full_name

    def without(self, kind: Descriptor, taken: set[str]) -> Tree:
        """The schema of a request whose other fields are in the path."""
        if not taken:
            return _ref(self.named(kind))
        return self._object(kind, [field for field in kind.fields if field.name not in taken])

    def parameters(
        self, kind: Descriptor, taken: set[str], body: str, prefix: str = "", depth: int = 0
    ) -> Iterator[Tree]:
        """The parameters of a query: all fields that are neither in the path nor in the body, and the fields within them."""
        for field in kind.fields:
            inner = field.message_type
            if prefix + field.name in taken or field.name == body:
                continue
            if inner is not None and inner.full_name not in _KNOWN:
                if not field.is_repeated and depth < 2:
                    yield from self.parameters(inner, taken, "", f"{prefix}{field.name}.", depth + 1)
                continue
            if (
                inner is not None
                and self.made.get(inner.full_name, _KNOWN[inner.full_name]).get("type") != "string"
            ):
                continue
            schema = self._field(field)
            description = schema.pop("description", "") or self.comments.get(field.full_name, "")
            name = ".".join((*(_json(part) for part in prefix.split(".")[:-1]), field.json_name))
            yield _parameter(name, "query", schema, description, required=_is_required(field) and not prefix)

    def _object(self, kind: Descriptor, fields: Sequence[FieldDescriptor]) -> Tree:
        required = [field.json_name for field in fields if _is_required(field)]
        is_request = kind.full_name.endswith("Request")
        return {
            "type": "object",
            **_said(self.comments.get(kind.full_name, "")),
            "properties": {field.json_name: self._field(field) for field in fields},
            # A response leaves out fields with default values, so only requests have required fields.
            **({"required": required} if required and is_request else {}),
            **({"additionalProperties": False} if is_request else {}),
        }

    def _field(self, field: FieldDescriptor) -> Tree:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        said = _said(self.comments.get(field.full_name, ""))
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            value = self._single(inner.fields_by_name["value"], rules.map.values)
            most = {"maxProperties": rules.map.max_pairs} if rules.map.HasField("max_pairs") else {}
            return {**said, "type": "object", "additionalProperties": value, **most}
        if field.is_repeated:
            given = {limit.name: value for limit, value in rules.repeated.ListFields()}
            names = {"minItems": "min_items", "maxItems": "max_items", "uniqueItems": "unique"}
            limits = {name: given[rule] for name, rule in names.items() if rule in given}
            return {**said, "type": "array", "items": self._single(field, rules.repeated.items), **limits}
        return {**said, **self._single(field, rules)}

    def _single(self, field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Tree:
        if field.message_type is not None:
            known = _KNOWN.get(field.message_type.full_name, {"type": "object"})
            # Generators of clients name an object within an object after its field, which may be another schema's name.
            is_object = known.get("type") == "object"
            return _ref(self.named(field.message_type)) if is_object else dict(known)
        if field.enum_type is not None:
            return self._enum(field.enum_type, rules)
        optional = rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE
        match field.type:
            case FieldDescriptor.TYPE_STRING:
                return _text(rules.string, empty=optional)
            case FieldDescriptor.TYPE_BYTES:
                return {"type": "string", "contentEncoding": "base64"}
            case FieldDescriptor.TYPE_BOOL:
                return {"type": "boolean"}
            case kind if kind in _NUMBERS:
                return {"type": "number", **_range(rules)}
            case kind if kind in _BITS_64:
                # The server writes a text, and reads numbers, too.
                return {"type": ["string", "integer"], "format": "int64"}
            case kind:
                least = {"minimum": 0} if kind in _UNSIGNED else {}
                return {"type": "integer", "format": "int32", **least, **_range(rules)}

    def _enum(self, kind: EnumDescriptor, rules: validate_pb2.FieldRules) -> Tree:
        refused = set(rules.enum.not_in)
        return {
            "type": "string",
            "enum": [value.name for value in kind.values if value.number not in refused],
        }


def _first_sentence(comment: str) -> str:
    return re.split(r"(?<=[.:;])\s", comment, maxsplit=1)[0].rstrip(".:;")


def _said(comment: str) -> Tree:
    return {"description": comment} if comment else {}


def _json(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _is_required(field: FieldDescriptor) -> bool:
    options: Any = field.GetOptions()
    return field_behavior_pb2.REQUIRED in options.Extensions[field_behavior_pb2.field_behavior]


def _text(rules: validate_pb2.StringRules, *, empty: bool) -> Tree:
    schema: Tree = {"type": "string"}
    if rules.min_bytes and not empty:
        schema["minLength"] = 1
    if rules.max_bytes:
        schema["maxLength"] = rules.max_bytes
    if rules.pattern:
        schema["pattern"] = f"^$|{rules.pattern}" if empty else rules.pattern
    if rules.uuid:
        schema["format"] = "uuid"
    return schema


def _range(rules: validate_pb2.FieldRules) -> Tree:
    kind = rules.WhichOneof("type")
    if kind is None:
        return {}
    limits = getattr(rules, kind)
    names = {field.name for field, _ in limits.ListFields()}
    return {
        name: getattr(limits, rule)
        for name, rule in (
            ("minimum", "gte"),
            ("maximum", "lte"),
            ("exclusiveMinimum", "gt"),
            ("exclusiveMaximum", "lt"),
        )
        if rule in names
    }


def page() -> str:
    """The document as JSON."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
