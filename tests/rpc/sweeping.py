"""Requests of strangers, made from the descriptors: for each method and each field that names a resource, a request
that names a resource of the victim, and the same request with a name that does not exist.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from google.api import field_behavior_pb2, resource_pb2
from google.protobuf import descriptor_pool, field_mask_pb2, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from uuid_utils.compat import uuid7

from responsa_server.calls.methods import METHODS, SERVICES
from tests.people import GOOD

REFERENCE: Any = resource_pb2.resource_reference
RESOURCE: Any = resource_pb2.resource
BEHAVIOUR: Any = field_behavior_pb2.field_behavior
REQUIRED = field_behavior_pb2.FieldBehavior.Value("REQUIRED")
OUTPUT_ONLY = field_behavior_pb2.FieldBehavior.Value("OUTPUT_ONLY")
READ_ONLY: Final = {
    field_behavior_pb2.FieldBehavior.Value(one) for one in ("OUTPUT_ONLY", "IDENTIFIER", "IMMUTABLE")
}
ANY: Final = "*"
PUBLIC_TYPES: Final = frozenset(
    {"responsa.example.org/Agent", "responsa.example.org/AgentVersion", "responsa.example.org/Tool"}
)
"""All callers share these resources: they come from the installation's files."""
UNANNOTATED: Final[Mapping[str, str]] = {
    f"google.longrunning.{one}OperationRequest.name": "responsa.example.org/Operation"
    for one in ("Get", "Delete", "Cancel", "Wait")
}
"""Fields of messages that are not ours, and the types of resources that they name."""
VALUES: Final[Mapping[str, object]] = {
    "email": "nobody@elsewhere.example",
    "password": GOOD,
    "new_password": GOOD,
    "current_password": GOOD,
    "refresh_token": "rsr_" + "A" * 43,
    "code": "rsp_" + "A" * 43,
    "source_key": "swept.md",
    "width": 400,
    "page": 1,
    "other_version": 1,
    "role": 1,
    "text": "Which canary sings?",
    "terms": "canary",
    "display_name": "Swept",
    "redirect_uris": "https://swept.example/back",
    "mapping": (
        "connection = 'swept'\ncollection = 'secrets'\nqueries.a = { sql = 'SELECT 1', columns = "
        "{ a = 'text' } }\ndocuments.a = { query = 'a', key = '1', text = '{{ a }}' }"
    ),
}
"""Valid values of required fields, by the fields' names."""
FALLBACKS: Final[Mapping[int, object]] = {
    FieldDescriptor.CPPTYPE_STRING: "swept",
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_DOUBLE: 1.0,
    FieldDescriptor.CPPTYPE_FLOAT: 1.0,
}
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Try:
    """A request of a stranger. field: the path of the field that names the resource; "" if the request does not name a
    resource. twin: the same request with a name that does not exist; empty without a field."""

    method: str
    field: str
    resource_type: str
    name: str
    missing: str
    request: bytes
    twin: bytes
    fits: bool = True
    """Whether the field may name a resource of this type."""
    door: str = "grpc"
    """The door: "grpc" or "rest" with a request of the method, or one with a shape of its own, see doors.py."""


def methods() -> Iterator[tuple[str, MethodDescriptor]]:
    """All methods of the contract, by path."""
    for service in SERVICES:
        for method in descriptor_pool.Default().FindServiceByName(service).methods:
            yield f"/{service}/{method.name}", method


def named_types() -> Iterator[tuple[str, str]]:
    """The methods whose request names its resource, and the type of this resource."""
    for path, method in methods():
        for places, resource_type in named_in(method.input_type):
            if places[-1].name == "name":
                yield path, resource_type


def resource_names() -> Mapping[str, Sequence[str]]:
    """A name of each type of resource, which does not exist."""
    files = {one.file for method in METHODS.values() for one in (method.input_type, method.output_type)}
    files |= {other for file in files for other in file.dependencies}
    names: dict[str, Sequence[str]] = {"responsa.example.org/Operation": [f"operations/{uuid7()}"]}
    for file in files:
        for message in file.message_types_by_name.values():
            own = message.GetOptions().Extensions[RESOURCE]
            if own.type:
                names[own.type] = [
                    re.sub(r"\{[^}]+\}", lambda _: str(UUID(bytes=uuid7().bytes)), own.pattern[0])
                ]
    return names


def creations(victim: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, bytes]]:
    """For each type of resource that the victim does not have: the type, the method that creates such a resource, and a
    request. victim: the names of the victim's resources by type."""
    for path, method in methods():
        kind = method.output_type.GetOptions().Extensions[RESOURCE].type
        if method.name == f"Create{method.output_type.name}" and kind and kind not in victim:
            yield kind, path, _request(method, victim, (), "")


def name_in(method: str, response: bytes) -> str:
    """The name of the resource that a method returned."""
    made: Any = message_factory.GetMessageClass(dict(methods())[method].output_type)
    return made.FromString(response).name


def missing_twin(name: str) -> str:
    """A name of the same form whose resource does not exist: with other UUIDs or, without UUIDs, with another id in its second part."""
    if _UUID.search(name):
        return _UUID.sub(lambda _: str(UUID(bytes=uuid7().bytes)), name)
    plural, _, rest = name.partition("/")
    identity, slash, more = rest.partition("/")
    return f"{plural}/no-{identity}{slash}{more}"


NAMED_PEOPLE: Final = frozenset(
    {"collection.readers.user", "hand_over_to", "service_grant.service", "service_grant.user"}
)
"""Fields in which a user of another tenant is a wrong value (INVALID_FIELD), as one who does not exist is."""
_GRANTED: Final = "responsa.admin.v1.ServiceGrant.user"
_NUMBERS: Final = itertools.count()
NESTED: Mapping[str, tuple[str, str, int]] = {
    "responsa.admin.v1.UpdateUserLimitsRequest": (
        "exceptions.messages_per_minute",
        "user_limits.exceptions.messages_per_minute",
        5,
    ),
    "responsa.admin.v1.UpdateInsightSettingsRequest": (
        "question_texts",
        "insight_settings.question_texts",
        1,
    ),
    "responsa.admin.v1.UpdateUserQuotaRequest": ("tokens_per_day", "user_quota.tokens_per_day.at_most", 5),
}
"""What updates of resources without a text change: the path of the mask, the field of the request, and its value."""


def tries(victim: Mapping[str, Sequence[str]]) -> Iterator[Try]:
    """All requests. victim: the names of the victim's resources by type; without a type that some field names, this fails."""
    for path, method in methods():
        fields = list(named_in(method.input_type))
        plain = _request(method, victim, (), "")
        if not any(name.encode() in plain for names in victim.values() for name in names):
            yield Try(path, "", "", "", "", plain, b"")
        for places, resource_type in fields:
            types = (
                [one for one in victim if one not in PUBLIC_TYPES]
                if resource_type == ANY
                else [resource_type]
            )
            for kind in types:
                if kind in PUBLIC_TYPES:
                    continue
                names = victim.get(kind)
                assert names, (
                    f"{path}: give the victim a resource of the type {kind}, so that the sweep covers the field {places[-1].name}"
                )
                for name in names:
                    missing = missing_twin(name)
                    field = ".".join(place.name for place in places)
                    if name == {"service_grant.service": names[-1], "service_grant.user": names[0]}.get(
                        field
                    ):
                        continue  # a grant to oneself is refused before anybody is looked up
                    request, twin = (_request(method, victim, places, value) for value in (name, missing))
                    yield Try(
                        path,
                        field,
                        kind,
                        name,
                        missing,
                        request,
                        twin,
                        resource_type != ANY and field not in NAMED_PEOPLE,
                    )


def over_rest(attempt: Try) -> Iterator[Try]:
    """The same request over REST, if the method has such a form. An upload has a shape of its own."""
    method = METHODS[attempt.method]
    if not method.client_streaming:
        yield replace(attempt, door="rest")


def named_in(
    message: Any, before: tuple[FieldDescriptor, ...] = ()
) -> Iterator[tuple[tuple[FieldDescriptor, ...], str]]:
    """The fields of a request that name resources, as paths, and the types that they name."""
    for field in message.fields:
        options = field.GetOptions()
        if OUTPUT_ONLY in options.Extensions[BEHAVIOUR]:
            continue  # the server ignores it
        reference = options.Extensions[REFERENCE]
        found = reference.type or reference.child_type or UNANNOTATED.get(field.full_name, "")
        if not found and before and _identifies(field, before[0].containing_type):
            found = message.GetOptions().Extensions[RESOURCE].type
        if found:
            yield (*before, field), found
        inner = field.message_type
        if (
            inner is not None
            and inner.full_name.startswith("responsa.")
            and inner not in [place.message_type for place in before]
        ):
            yield from named_in(inner, (*before, field))


def _identifies(field: Any, request: Any) -> bool:
    """Whether this field is the name of the resource that an update changes. The resource of a creation has no name yet."""
    own = field.containing_type.GetOptions().Extensions[RESOURCE].type
    return bool(own) and field.name == "name" and request.name.startswith("Update")


def plain_request(path: str, victim: Mapping[str, Sequence[str]]) -> bytes:
    """A valid request of a method. victim: the names of resources by type."""
    return _request(METHODS[path], victim, (), "")


def _request(
    method: MethodDescriptor,
    victim: Mapping[str, Sequence[str]],
    places: Sequence[FieldDescriptor],
    name: str,
) -> bytes:
    message = message_factory.GetMessageClass(method.input_type)()
    _fill(message, victim, method.input_type)
    target: Any = message
    for place in places[:-1]:
        holder, target = target, getattr(target, place.name)
        if place.is_repeated:
            target = target[0] if target else target.add()
        if place.is_repeated or not holder.HasField(place.name):
            _fill(target, victim, method.input_type)
    if places:
        last = places[-1]
        if last.is_repeated:
            del getattr(target, last.name)[:]
            getattr(target, last.name).append(name)
        else:
            setattr(target, last.name, name)
    return message.SerializeToString()


def _fill(message: Message, victim: Mapping[str, Sequence[str]], request: Any) -> None:
    """Give every required field a valid value. A oneof that must be set gets its first field."""
    fields: Any = message.DESCRIPTOR.fields
    for field in fields:
        required = (
            REQUIRED in field.GetOptions().Extensions[BEHAVIOUR]
            or field.name in ("update_mask", "display_name")
            or field.full_name in UNANNOTATED
            or _identifies(field, request)
        )
        group = field.containing_oneof
        first = group is not None and group.fields[0] is field and len(group.fields) > 1
        if required or first:
            _set(message, field, victim, request)


def _set(message: Message, field: Any, victim: Mapping[str, Sequence[str]], request: Any) -> None:
    if field.message_type is not None:
        inner: Any = getattr(message, field.name)
        if field.message_type is field_mask_pb2.FieldMask.DESCRIPTOR:
            inner.paths.append(_changeable(message))
            return
        if field.is_repeated:
            inner = inner.add()
        inner.SetInParent()
        _fill(inner, victim, request)
        return
    value = _value(field, victim)
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _value(field: Any, victim: Mapping[str, Sequence[str]]) -> object:
    reference = field.GetOptions().Extensions[REFERENCE]
    named = reference.type or reference.child_type or UNANNOTATED.get(field.full_name, "")
    if named and named != ANY and victim.get(named):
        return victim[named][-1 if field.full_name == _GRANTED else 0]
    if named == ANY:
        return victim["responsa.example.org/Document"][0]
    if (
        field.name == "name"
        and (own := field.containing_type.GetOptions().Extensions[RESOURCE].type) in victim
    ):
        return victim[own][0]
    if field.name == "collection_id":
        return f"swept-{next(_NUMBERS)}"  # a second collection with one id is refused
    if field.name in VALUES:
        return VALUES[field.name]
    return FALLBACKS.get(field.cpp_type, 1)


def _changeable(request: Message) -> str:
    """A field of the request's resource that an update may change. The resource gets a valid value there."""
    if (known := NESTED.get(request.DESCRIPTOR.full_name)) is not None:
        path, field, value = known
        *outer, last = field.split(".")
        place: Any = request
        for part in outer:
            place = getattr(place, part)
        setattr(place, last, value)
        return path
    for holder in request.DESCRIPTOR.fields:
        if holder.message_type is None or not holder.message_type.GetOptions().Extensions[RESOURCE].type:
            continue
        resource = getattr(request, holder.name)
        for descriptor in holder.message_type.fields:
            behaviour = set(descriptor.GetOptions().Extensions[BEHAVIOUR])
            if (
                descriptor.cpp_type == FieldDescriptor.CPPTYPE_STRING
                and not descriptor.is_repeated
                and not behaviour & READ_ONLY
            ):
                setattr(resource, descriptor.name, VALUES.get(descriptor.name, "swept"))
                return descriptor.name
    raise AssertionError(f"{request.DESCRIPTOR.full_name}: no field of its resource can be updated")
