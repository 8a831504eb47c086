"""The calls of a resource that administrators keep: its values are the fields of its message, and
`stores/postgres/resources.py` stores them."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar
from uuid import UUID

from google.api import field_behavior_pb2, resource_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from responsa_server.calls.call import caller
from responsa_server.calls.convert.messages import columns, message
from responsa_server.calls.convert.values import request_id, unmask, uuid_of
from responsa_server.calls.listing import Listing
from responsa_server.calls.violations import check_texts
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.resources import ResourceTable

ResourceMessage = TypeVar("ResourceMessage", bound=Message)

# The stubs of these extensions are untyped.
_RESOURCE: Any = resource_pb2.resource
_BEHAVIOR: Any = field_behavior_pb2.field_behavior
_KEPT_BY_SERVER = {field_behavior_pb2.IDENTIFIER, field_behavior_pb2.OUTPUT_ONLY}


class ResourceCalls(Generic[ResourceMessage]):
    """The calls of one type of resource. The annotations of its message say what it is called, and which fields a
    caller gives; the requests have the fields that AIP-131 to AIP-135 name.

    `methods_of` finds the calls by the names that these AIPs give to the methods, such as `CreateTeacher`.
    """

    def __init__(self, kind: type[ResourceMessage], page: type[Message], table: ResourceTable) -> None:
        """page: the response of the list call."""
        self._kind = kind
        self._page = page
        self._table = table
        annotation = kind.DESCRIPTOR.GetOptions().Extensions[_RESOURCE]
        self._field = re.sub(r"(?=[A-Z])", "_", annotation.singular).lower()
        self._plural: str = annotation.plural
        behaviors = {
            field.name: set(field.GetOptions().Extensions[_BEHAVIOR]) for field in kind.DESCRIPTOR.fields
        }
        self._given = [
            name for name, behavior in behaviors.items() if name != "etag" and not behavior & _KEPT_BY_SERVER
        ]
        name, plural = kind.DESCRIPTOR.name, self._plural[0].upper() + self._plural[1:]
        setattr(self, f"Create{name}", self.create)
        setattr(self, f"Get{name}", self.get)
        setattr(self, f"List{plural}", self.list)
        setattr(self, f"Update{name}", self.update)
        setattr(self, f"Delete{name}", self.delete)
        self._required = [name for name in self._given if field_behavior_pb2.REQUIRED in behaviors[name]]

    async def create(self, request: Any, identity: UUID | None = None) -> ResourceMessage:
        """Create the resource in the request. identity: its id if the request has none; by default a new one."""
        values = columns(self._field, getattr(request, self._field), self._given)
        chosen = getattr(request, f"{self._field}_id", "")
        row = await self._table.create(
            caller(), values, UUID(chosen) if chosen else identity, request_id(request.request_id)
        )
        return self._message(row)

    async def get(self, request: Any) -> ResourceMessage:
        return self._message(await self._table.get(caller(), self._id("name", request.name)))

    async def list(self, request: Any) -> Message:
        asked = Listing(self._table.kind.rules, caller(), request)
        page = await self._table.list(caller(), asked.query)
        return asked.answer(self._page, page, self._message)

    async def update(self, request: Any) -> ResourceMessage:
        """Change the fields that the mask names. A required text cannot be emptied."""
        resource = getattr(request, self._field)
        changes = columns(self._field, resource, sorted(unmask(request.update_mask, self._given, resource)))
        check_texts(
            self._field,
            **{
                name: value
                for name, value in changes.items()
                if name in self._required and isinstance(value, str)
            },
        )
        identity = self._id(f"{self._field}.name", resource.name)
        return self._message(await self._table.update(caller(), identity, changes, resource.etag))

    async def delete(self, request: Any) -> Empty:
        await self._table.delete(caller(), self._id("name", request.name), request.etag)
        return Empty()

    def _id(self, field: str, name: str) -> UUID:
        return uuid_of(field, self._plural, name)

    def _message(self, value: Row) -> ResourceMessage:
        return message(self._kind, value)
