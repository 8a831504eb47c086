from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from responsa_server.stores.postgres.migrate import Migration, MigrationError, applied, load, migrate
from tests.conftest import DatabaseUrls


async def test_all_migrations_are_applied_in_order_and_applying_again_does_nothing(
    database_urls: DatabaseUrls,
) -> None:
    assert list(await migrate(database_urls.owner)) == []
    async with await psycopg.AsyncConnection.connect(database_urls.app) as connection:
        assert [name for name, _ in await applied(connection)] == [one.name for one in load()]


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    database_urls: DatabaseUrls,
) -> None:
    first, *rest = load()
    changed = [Migration(first.number, first.name, first.sql + "\n-- changed"), *rest]
    with pytest.raises(MigrationError, match="applied in another form"):
        await migrate(database_urls.owner, changed)


async def test_a_database_that_is_ahead_is_refused(database_urls: DatabaseUrls) -> None:
    with pytest.raises(MigrationError, match="does not know"):
        await migrate(database_urls.owner, load()[:1])


async def test_a_migration_that_fails_leaves_nothing_and_says_which(database_urls: DatabaseUrls) -> None:
    known = load()
    broken = Migration(
        len(known) + 1, f"{len(known) + 1:04}_pre_broken", "CREATE TABLE responsa.half (); SELECT 1/0;"
    )
    with pytest.raises(MigrationError, match=f"{broken.name} failed: division by zero"):
        await migrate(database_urls.owner, [*known, broken])
    async with await psycopg.AsyncConnection.connect(database_urls.owner) as connection:
        cursor = await connection.execute(sql.SQL("SELECT to_regclass('responsa.half')"))
        assert await cursor.fetchone() == (None,)
        assert len(await applied(connection)) == len(known)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["0001_pre_a.sql", "0003_pre_b.sql"], "gap"),
        (["0001_pre_a.sql", "0001_post_b.sql"], "stand twice"),
        (["0001_a.sql"], "is not named"),
    ],
)
def test_files_must_be_named_and_numbered(tmp_path: Path, names: list[str], complaint: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=complaint):
        load(tmp_path)


def test_the_real_files_are_loaded_in_order() -> None:
    assert [one.number for one in load()] == list(range(1, len(load()) + 1))
    assert load()[0].name == "0001_pre_identity"
