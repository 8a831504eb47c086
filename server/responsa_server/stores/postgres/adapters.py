"""What a connection can send besides the types that psycopg knows: vectors, by pgvector's package, and sets of documents."""

from __future__ import annotations

import contextlib
import struct
from typing import Any, Final

import numpy as np
import psycopg
from pgvector.psycopg import register_vector_async
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from responsa_server.domain.passages import DocumentSet

_UUID_OID: Final = 2950


class _DocumentSetDumper(Dumper):
    """Encodes the binary form of `uuid[]`. psycopg needs a hundred times as long to encode a list."""

    format = Format.BINARY
    oid = 2951

    def dump(self, obj: DocumentSet) -> Buffer:
        count = len(obj)
        if not count:
            return struct.pack(">iiI", 0, 0, _UUID_OID)
        rows = np.empty(count, [("size", ">i4"), ("id", "V16")])
        rows["size"] = 16
        rows["id"] = np.frombuffer(obj.packed, "V16")
        return struct.pack(">iiIii", 1, 0, _UUID_OID, count, 1) + rows.tobytes()


async def adapt(connection: psycopg.AsyncConnection[Any]) -> None:
    """Let a connection send vectors and sets of documents. It asks the database for the ids of pgvector's types, which
    differ from database to database."""
    connection.adapters.register_dumper(DocumentSet, _DocumentSetDumper)
    # In a database without pgvector, the check of the migrations says so.
    with contextlib.suppress(psycopg.ProgrammingError):
        await register_vector_async(connection)
