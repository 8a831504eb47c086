"""The rows of a dump go only into the tables that the migrations have made, and no text of a dump is executed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
import typer

from responsa_local.commands.archive import BackupHeader, writing
from responsa_local.commands.backup import restore
from responsa_local.embedded import EmbeddedPostgres
from responsa_server.stores.postgres.dump import (
    DumpDescription,
    DumpError,
    DumpTable,
    loading,
    never_used,
    snapshot,
)
from responsa_server.stores.postgres.migrate import load as load_migrations
from tests.conftest import DatabaseUrls

WEEK = "turn_event_20260105"
SQL = "DEFAULT; CREATE TABLE public.pwned AS SELECT current_user; SELECT 1 --"


@pytest.fixture
def admin(postgres: EmbeddedPostgres, database_urls: DatabaseUrls) -> Iterator[psycopg.Connection]:
    name = psycopg.conninfo.conninfo_to_dict(database_urls.owner)["dbname"]
    with psycopg.connect(postgres.dsn("superuser", str(name)), autocommit=True) as connection:
        yield connection


@pytest.fixture
def described(admin: psycopg.Connection) -> DumpDescription:
    """What a dump of this database has. The database also has a table of somebody else, with a row."""
    admin.execute("CREATE TABLE public.theirs (id int); INSERT INTO public.theirs VALUES (1)")
    admin.execute("CREATE SEQUENCE public.ours; GRANT ALL ON public.theirs, public.ours TO responsa_owner")
    found = snapshot(admin).description
    admin.execute("ROLLBACK")
    return found


def load(url: str, description: DumpDescription) -> None:
    with loading(url, description) as add:
        add(0, [])


def with_tables(description: DumpDescription, *more: DumpTable) -> DumpDescription:
    return replace(description, tables=[*description.tables, *more])


def without(description: DumpDescription, name: str) -> DumpDescription:
    return replace(description, tables=[one for one in description.tables if one.name != name])


def with_columns(description: DumpDescription, columns: list[str]) -> DumpDescription:
    (tenant,) = [one for one in description.tables if one.name == "tenant"]
    return with_tables(without(description, "tenant"), replace(tenant, columns=columns))


def table(schema: str, name: str, *columns: str) -> DumpTable:
    """A table that no check of its form has seen."""
    return DumpTable(cast("Any", schema), name, columns)


REFUSED: dict[str, Callable[[DumpDescription], DumpDescription]] = {
    "a foreign table": lambda found: with_tables(found, table("public", "theirs", "id")),
    "a catalog": lambda found: with_tables(found, table("pg_catalog", "pg_authid", "rolname")),
    "an unknown table": lambda found: with_tables(found, table("responsa", "later", "id")),
    "a partition of another form": lambda found: with_tables(found, table("procrastinate", WEEK, "id")),
    "a table with a quote": lambda found: with_tables(found, table("responsa", f'x"; {SQL}', "id")),
    "a missing table": lambda found: without(found, "tenant"),
    "an unknown column": lambda found: with_columns(found, ["id", "later"]),
    "a missing column": lambda found: with_columns(found, ["id"]),
    "a foreign sequence": lambda found: replace(found, sequences=[(cast("Any", "public"), "ours", 7)]),
    "an unknown sequence": lambda found: replace(found, sequences=[("responsa", "later", 7)]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_only_the_tables_of_the_migrations(
    admin: psycopg.Connection, database_urls: DatabaseUrls, described: DumpDescription, case: str
) -> None:
    with pytest.raises(DumpError, match="is not as its migrations make it"):
        load(database_urls.owner, REFUSED[case](described))
    assert admin.execute("SELECT count(*) FROM public.theirs").fetchone() == (1,)
    assert admin.execute("SELECT is_called FROM public.ours").fetchone() == (False,)


def test_the_bounds_of_a_week_follow_from_its_name(
    admin: psycopg.Connection, database_urls: DatabaseUrls, described: DumpDescription
) -> None:
    """Older dumps have a text with the bounds, which was executed."""
    content = json.loads(described.to_json())
    columns = next(one.columns for one in described.tables if one.week)
    content["tables"].append(
        {"schema": "responsa", "name": WEEK, "columns": columns, "parent": "turn_event", "bound": SQL}
    )
    load(database_urls.owner, DumpDescription.of_json(json.dumps(content).encode()))
    assert admin.execute("SELECT to_regclass('public.pwned')").fetchone() == (None,)
    made = (
        "SELECT pg_get_expr(relpartbound, oid), relrowsecurity, relforcerowsecurity, "
        "relowner::regrole::text FROM pg_class WHERE relname = %s"
    )
    bound, *others = admin.execute(made, [WEEK]).fetchone() or ()
    expected = "SELECT format('FOR VALUES FROM (%L) TO (%L)', responsa.first_uuid7('2026-01-05Z'), responsa.first_uuid7('2026-01-12Z'))"
    assert (bound,) == admin.execute(expected).fetchone()
    assert others == [True, True, "responsa_owner"]


def test_a_description_is_what_it_was(described: DumpDescription) -> None:
    assert DumpDescription.of_json(described.to_json().encode()) == described
    assert asdict(described)["tables"]


def test_a_database_with_a_tenant_was_used(admin: psycopg.Connection, database_urls: DatabaseUrls) -> None:
    """Also for the owner, who sees no row of it. A restore that was killed leaves tables without rows, or not all tables."""
    with psycopg.connect(database_urls.owner, autocommit=True) as owner:
        assert never_used(owner)
        with owner.transaction(force_rollback=True):  # as a load that was cut off
            owner.execute("TRUNCATE responsa.tenant CASCADE")
        assert never_used(owner)
        admin.execute("INSERT INTO responsa.tenant (id, display_name) VALUES ('acme', 'Acme')")
        assert not never_used(owner)
        admin.execute("DROP TABLE responsa.tenant CASCADE")
        assert never_used(owner)


@pytest.fixture
def forged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_urls: DatabaseUrls
) -> Callable[..., str]:
    """Repeats a restore that was killed, with the rows of a dump that names these migrations. Returns what the command
    says when it fails."""
    monkeypatch.setenv("RESPONSA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", database_urls.owner)

    def restored(description: DumpDescription, migrations: int, capsys: pytest.CaptureFixture[str]) -> str:
        known = [(one.name, one.sha256.hex()) for one in load_migrations()[:migrations]]
        header = BackupHeader("dump", "1.0", "2026-11-26T12:00:00+00:00", known, 18, "any", [])
        with (tmp_path / "one.backup").open("wb") as file, writing(file, header, None) as writer:
            writer.bytes("tables.json", description.to_json().encode())
            for number in range(len(description.tables)):
                writer.bytes(f"tables/{number}/0", b"")
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home" / "restoring").touch()
        with pytest.raises(typer.Exit):
            restore(str(tmp_path / "one.backup"), None)
        return capsys.readouterr().err

    return restored


@pytest.mark.parametrize(
    ("migrations", "said"), [(0, "PostgreSQL refused a statement"), (8, "is not as its migrations make it")]
)
def test_a_database_that_a_killed_restore_has_left_is_emptied(
    admin: psycopg.Connection,
    described: DumpDescription,
    forged: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    migrations: int,
    said: str,
) -> None:
    assert said in forged(described, migrations, capsys)
    # This restore fails, too, so it removes what it has made.
    assert admin.execute("SELECT to_regnamespace('responsa')").fetchone() == (None,)
    assert admin.execute("SELECT count(*) FROM public.theirs").fetchone() == (1,)


def test_a_database_that_was_used_is_not_emptied(
    admin: psycopg.Connection,
    described: DumpDescription,
    forged: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    admin.execute("INSERT INTO responsa.tenant (id, display_name) VALUES ('acme', 'Acme')")
    assert "has tables of Responsa; name an empty database" in forged(described, 8, capsys)
    assert admin.execute("SELECT id FROM responsa.tenant").fetchone() == ("acme",)
