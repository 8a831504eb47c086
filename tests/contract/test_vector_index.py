from __future__ import annotations

import psycopg

from responsa_server.domain.passages import QuestionVector, SearchScope
from responsa_server.domain.people import Server
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.vectors import drop_unused_index, fit_index
from tests.conftest import DatabaseUrls
from tests.contract.index_writer import IndexWriter, VectorsOf


async def indexes(url: str) -> dict[str, list[str]]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute(
            "SELECT c.relname, c.reloptions FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid "
            "WHERE c.relname LIKE 'passage_vector_embedding%' AND i.indisvalid"
        )
        return {str(name): sorted(options) for name, options in await cursor.fetchall()}


async def test_the_index_is_built_anew_when_its_settings_change_and_only_then(
    database_urls: DatabaseUrls,
) -> None:
    url = database_urls.owner
    before = await indexes(url)
    assert before == {"passage_vector_embedding": ["ef_construction=64", "m=16"]}
    assert not await fit_index(url, m=16, ef_construction=64)
    assert await fit_index(url, m=24, ef_construction=100)
    assert await indexes(url) == {"passage_vector_embedding": ["ef_construction=100", "m=24"]}
    assert not await fit_index(url, m=24, ef_construction=100)


async def test_what_an_interrupted_build_left_is_no_obstacle(database_urls: DatabaseUrls) -> None:
    url = database_urls.owner
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "CREATE INDEX passage_vector_embedding_fresh ON responsa.passage_vector USING hnsw (embedding halfvec_cosine_ops)"
        )
        await connection.execute("DROP INDEX responsa.passage_vector_embedding")
    assert await fit_index(url, m=8, ef_construction=32)
    assert await indexes(url) == {"passage_vector_embedding": ["ef_construction=32", "m=8"]}


async def test_an_index_is_dropped_only_before_its_table_has_a_row(database_urls: DatabaseUrls) -> None:
    url = database_urls.owner
    await drop_unused_index(url)
    assert await indexes(url) == {}
    assert await fit_index(url, m=16, ef_construction=64)
    async with await psycopg.AsyncConnection.connect(database_urls.superuser) as connection:
        await connection.execute("SET session_replication_role = replica")  # no passage is needed
        await connection.execute(
            "INSERT INTO responsa.passage_vector (passage_id, ordinal, tenant_id, collection_id, kind, byte_start, byte_end, embedding) "
            "SELECT uuidv7(), 0, 't', 'c', 'window', 0, 1, array_fill(1, ARRAY[384])::real[]::halfvec"
        )
    await drop_unused_index(url)
    assert await indexes(url) == {"passage_vector_embedding": ["ef_construction=64", "m=16"]}


async def test_a_connection_that_replaces_a_lost_one_sends_vectors(
    database: Database, embedder: MiniLmEmbedder, database_urls: DatabaseUrls
) -> None:
    index_writer = IndexWriter(database, embedder)
    question = QuestionVector(embedder.name, embedder.embed_sync(["a light"])[0].astype("<f4").tobytes())
    for number in (1, 2):
        await index_writer.put(f"The harbour has a light and {number} piers.")
        assert len(await VectorsOf(database).nearest(SearchScope(Server("acme")), question, 5)) == number
        async with await psycopg.AsyncConnection.connect(database_urls.superuser) as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
