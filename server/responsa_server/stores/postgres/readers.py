"""The reader of a transaction, and the collections that the reader's names mean.

A collection has an id that is unique in its tenant, which the tables use, and a name, which depends on the reader:
owners call their collections by the ids that they have chosen, and two owners may choose the same one (ADR 0033). Names
are resolved, and made, in the transactions of the stores; what is above the stores knows names alone.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound, NotPermitted
from responsa_server.domain.people import Reader, Role, Server
from responsa_server.stores.postgres.database import AS_READER, Connection, acting

_VISIBLE: Final = """SELECT c.id, responsa.collection_name(c.id), c.owner_id
    FROM responsa.collection AS c WHERE c.tenant_id = responsa.current_tenant() AND c.id = (SELECT responsa.named_collection(%(name)s))"""


class NamedCollection(NamedTuple):
    """A collection that a name means. key: its id in the tables. shown: its id in the names that the reader gets."""

    key: str
    shown: str
    owner_id: UUID


async def act_as(connection: Connection, reader: Reader) -> None:
    """From here on, the transaction sees what this reader may read."""
    await connection.execute(AS_READER, acting(reader))


async def visible_collection(connection: Connection, collection_id: str) -> NamedCollection:
    """The collection that the transaction's reader means. Administrators see all collections, though not what is in
    them. Raises NotFound."""
    row = await (await connection.execute(_VISIBLE, {"name": collection_id})).fetchone()
    if row is None:
        raise NotFound.of("collection", names.collection(collection_id))
    return NamedCollection(*row)


async def own_collection(connection: Connection, reader: Reader, collection_id: str) -> NamedCollection:
    """The collection that the transaction's reader means and may change. From here on, the transaction sees all of the
    tenant. Raises NotFound, NotPermitted.

    A caller that has checked the owner before must not rely on it: by now, the name may mean another collection.
    """
    named = await visible_collection(connection, collection_id)
    if not isinstance(reader, Server) and reader.role is not Role.ADMIN and reader.user_id != named.owner_id:
        raise NotPermitted.owner_only()
    await act_as(connection, Server(reader.tenant_id))
    return named


async def readable_collection(connection: Connection, collection_id: str) -> str:
    """The id, in the tables, of the collection that the transaction's reader means and may read. Raises NotFound."""
    row = await (
        await connection.execute("SELECT responsa.readable_collection(%s)", (collection_id,))
    ).fetchone()
    if row is None or row[0] is None:
        raise NotFound.of("collection", names.collection(collection_id))
    return str(row[0])


async def visible_name(connection: Connection, key: str) -> str:
    """The id of this collection in the names that the transaction's reader gets; "" if it is not visible."""
    row = await (await connection.execute("SELECT responsa.collection_name(%s)", (key,))).fetchone()
    return "" if row is None or row[0] is None else str(row[0])
