"""The migrations that have landed on the main branch, as its history has them. A list of merged migrations only grows,
and a database that any landed commit has made comes to today's schema: in place, and from both kinds of backup.
"""

from __future__ import annotations

import asyncio
import gzip
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from responsa_server.embedded import EmbeddedPostgres, Layout, purge
from responsa_server.stores.postgres.migrate import EARLIER_FORMS, Migration, applied, load, migrate
from tests import seeds
from tests.conftest import DatabaseUrls, urls_of
from tests.forked import responsa
from tests.instance import plain_environment
from tests.migrations.schema import schema

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MERGED = "tests/migrations/merged"
BASELINE = "b3ff1906"
"""The commit with the first of today's migrations."""
RECORDED = HERE / "at_c6fb5430" / "dump.sql.gz"
"""A database with the 63 migrations that today's first eight replace, with rows of all kinds."""
SQUASHED, BEGUN = "0063_pre_guessed_charset", 8


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True, text=True).stdout


@pytest.fixture(scope="module")
def history() -> None:
    found = subprocess.run(
        ["git", "merge-base", "--is-ancestor", BASELINE, "HEAD"], cwd=ROOT, capture_output=True, check=False
    )
    if found.returncode or git("rev-parse", "--is-shallow-repository").strip() == "true":
        pytest.fail(
            f"this checkout lacks the history since {BASELINE}: clone the whole repository, or run `git fetch --unshallow`"
        )


def _first_parents(*paths: str) -> Sequence[str]:
    """The commits that changed these paths of the main branch, oldest first."""
    return git("log", "--first-parent", "--reverse", "--format=%h", f"{BASELINE}..HEAD", "--", *paths).split()


def _merged(text: str) -> Sequence[tuple[str, bytes]]:
    return [(name, bytes.fromhex(digest)) for name, digest in map(str.split, text.splitlines())]


@pytest.mark.usefixtures("history")
def test_a_list_of_merged_migrations_only_grows() -> None:
    """Databases have applied what has landed. What had changed before this test is in `EARLIER_FORMS`."""
    commits = _first_parents(MERGED)
    lists = [(commit, git("show", f"{commit}:{MERGED}")) for commit in commits]
    lists.append(("the working tree", (ROOT / MERGED).read_text(encoding="utf-8")))
    assert len(lists) > 1
    by_name = {one.name: one for one in load()}
    before: Sequence[tuple[str, bytes]] = []
    for where, text in lists:
        merged = _merged(text)
        forms = [by_name.get(EARLIER_FORMS.get((name, digest.hex()), "")) for name, digest in merged]
        merged = [
            row if form is None else (form.name, form.sha256) for row, form in zip(merged, forms, strict=True)
        ]
        assert merged[: len(before)] == before, (
            f"{where} changes a merged migration; write a new migration instead"
        )
        before = merged


def _landed() -> Mapping[str, Sequence[Migration]]:
    """The different sets of migrations, by the first commit that has each, oldest first."""
    commits = git("log", "--first-parent", "--reverse", "--format=%h", f"{BASELINE}..HEAD").split()
    trees: dict[str, str] = {}
    for commit in commits:
        trees.setdefault(git("rev-parse", f"{commit}:migrations").strip(), commit)
    return {commit: _migrations(tree) for tree, commit in trees.items()}


def _migrations(tree: str) -> Sequence[Migration]:
    names = [name for name in git("ls-tree", "--name-only", tree).split() if name.endswith(".sql")]
    return [Migration(int(name[:4]), name[:-4], git("cat-file", "blob", f"{tree}:{name}")) for name in names]


@pytest.fixture(scope="module")
def landed(history: None) -> Mapping[str, Sequence[Migration]]:
    return _landed()


def _apply(urls: DatabaseUrls, migrations: Sequence[Migration], begun: int = 0) -> None:
    """Apply the migrations behind the first `begun` as the commit that had them did, and list all of them."""
    with psycopg.connect(urls.owner) as connection:
        for migration in migrations[begun:]:
            connection.execute(migration.sql.encode())
        connection.execute(
            "CREATE TABLE IF NOT EXISTS responsa.migration (number int PRIMARY KEY, name text NOT "
            "NULL, sha256 bytea NOT NULL, apply_time timestamptz NOT NULL DEFAULT now())"
        )
        connection.execute("GRANT SELECT ON responsa.migration TO responsa_app, responsa_log")
        connection.execute("DELETE FROM responsa.migration")
        connection.cursor().executemany(
            "INSERT INTO responsa.migration (number, name, sha256) VALUES (%s, %s, %s)",
            [(one.number, one.name, one.sha256) for one in migrations],
        )


@pytest.fixture
def empty(postgres: EmbeddedPostgres, maintenance: psycopg.Connection) -> Iterator[DatabaseUrls]:
    """A database without tables."""
    name = "landed"
    maintenance.execute(f"CREATE DATABASE {name} OWNER responsa_owner TEMPLATE template0".encode())
    try:
        urls = urls_of(postgres, name)
        urls.ask("CREATE EXTENSION vector")
        yield urls
    finally:
        maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.mark.parametrize("form", EARLIER_FORMS, ids="-".join)
async def test_a_database_with_an_earlier_form_of_a_migration_comes_to_todays_schema(
    form: tuple[str, str],
    landed: Mapping[str, Sequence[Migration]],
    empty: DatabaseUrls,
    database_urls: DatabaseUrls,
) -> None:
    *_, migrations = [
        one for one in landed.values() if form in {(each.name, each.sha256.hex()) for each in one}
    ]
    _apply(empty, migrations)
    assert (await migrate(empty.owner))[-1] == load()[-1].name
    assert schema(empty.superuser) == schema(database_urls.superuser)
    async with await psycopg.AsyncConnection.connect(empty.app) as connection:
        assert await applied(connection) == [(one.name, one.sha256) for one in load()]


# Tables in which a restore itself writes: a new key for access tokens, and the list of migrations.
OWN = {"migration", "signing_key"}


def _counts(url: str) -> Mapping[str, int]:
    """The number of rows of each table that has some."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT relnamespace::regnamespace::text, relname::text FROM pg_class"
            " WHERE relnamespace::regnamespace::text IN ('responsa', 'procrastinate') AND relkind IN ('r', 'p') AND NOT relispartition"
        ).fetchall()
        counts: dict[str, int] = {}
        for place in tables:
            row = connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*place))
            ).fetchone()
            assert row is not None
            counts[place[1]] = row[0]
    return {name: number for name, number in counts.items() if number and name not in OWN}


@contextmanager
def _running(layout: Layout) -> Generator[DatabaseUrls]:
    part = EmbeddedPostgres(layout, settings=[("fsync", "off")])
    part.start()
    try:
        yield urls_of(part, "responsa")
    finally:
        part.stop()


def _fill(layout: Layout, migrations: Sequence[Migration]) -> Mapping[str, int]:
    """Make an instance as the commit with these migrations left it, with the recorded rows of commit c6fb5430. Returns
    the number of rows of each table."""
    seeds.plant(layout)
    with _running(layout) as urls:
        with psycopg.connect(
            EmbeddedPostgres(layout).dsn("superuser", database="postgres"), autocommit=True
        ) as admin:
            admin.execute("DROP DATABASE responsa WITH (FORCE)")
            admin.execute("CREATE DATABASE responsa OWNER responsa_owner TEMPLATE template0")
        urls.ask(gzip.decompress(RECORDED.read_bytes()))
        if migrations[-1].name != SQUASHED:
            _apply(urls, migrations, begun=BEGUN)
        return _counts(urls.superuser)


def _whole(layout: Layout, filled: Mapping[str, int], wanted: Sequence[str]) -> None:
    """Check that a database has all rows and today's schema."""
    with _running(layout) as urls:
        asyncio.run(migrate(urls.owner))
        found = _counts(urls.superuser)
        assert {name: found.get(name) for name in filled} == filled
        with psycopg.connect(urls.superuser) as superuser:
            if superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = 'responsa_backup'").fetchone():
                superuser.execute("DROP OWNED BY responsa_backup")  # what a dump grants itself
        assert schema(urls.superuser) == wanted


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_landed_database_comes_up_and_is_restored(
    landed: Mapping[str, Sequence[Migration]], database_urls: DatabaseUrls
) -> None:
    wanted = schema(database_urls.superuser)
    began = time.monotonic()
    for commit, migrations in landed.items():
        # Paths of sockets must stay short.
        folder = Path(tempfile.mkdtemp(prefix="rsl-"))
        folder.chmod(0o755)
        layout = Layout.of(folder / "home").prepare()
        try:
            filled = _fill(layout, migrations)
            for kind in ((), ("--dump",)):
                place = Layout.of(folder / f"restored{''.join(kind)}")
                backup = _run(layout, "backup", str(folder / "b"), *kind)
                _run(place, "restore", backup.strip())
                _whole(place, filled, wanted)
                purge(place)
            _whole(layout, filled, wanted)
        finally:
            purge(layout)
            shutil.rmtree(folder)
        print(
            f"{commit}: {len(migrations)} migrations up to {migrations[-1].name}, {sum(filled.values())} rows in {len(filled)} tables"
        )
    print(
        f"{len(landed)} sets of migrations came up and were restored from both kinds of backup in {time.monotonic() - began:.0f} s"
    )


def _run(layout: Layout, *arguments: str) -> str:
    done = subprocess.run(
        [*responsa(), *arguments],
        env=plain_environment(RESPONSA_HOME=str(layout.home)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
