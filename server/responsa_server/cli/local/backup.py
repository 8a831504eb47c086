"""The commands `responsa backup`, which writes a running instance into one file, and `responsa restore`, which makes an instance of the file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import psycopg
import typer

from responsa_server import __version__
from responsa_server.app.accounts import tokens_on
from responsa_server.app.resources import bring_up_to_date, database_urls, pools_of, reason_of
from responsa_server.app.settings import Settings, SettingsError, load, without_secrets
from responsa_server.cli.local.admin import database
from responsa_server.cli.local.archive import (
    CHUNK,
    DamagedArchive,
    Header,
    Member,
    NewerArchive,
    Writer,
    read,
    read_key,
    writing,
)
from responsa_server.cli.local.failures import reporting
from responsa_server.embedded import EmbeddedError, EmbeddedPostgres, Layout
from responsa_server.embedded.base_backup import ClusterDraft, base_backup
from responsa_server.embedded.errors import EMPTY_FOLDER, file_errors, of_os_error
from responsa_server.embedded.files import PlaceLock, present
from responsa_server.embedded.layout import SETTINGS_FILE
from responsa_server.embedded.postgres import MAJOR
from responsa_server.embedded.purge import purge
from responsa_server.private_files import create_private, write_private
from responsa_server.stores.postgres.dump import (
    Description,
    DumpError,
    Snapshot,
    applied,
    is_empty,
    loading,
    remove_schemas,
    snapshot,
)
from responsa_server.stores.postgres.migrate import MigrationError, migrate
from responsa_server.stores.postgres.migrate import load as load_migrations
from responsa_server.stores.postgres.pause import BEGIN, PostgresPause
from responsa_server.stores.postgres.vectors import drop_unused_index

SUFFIX: Final = ".backup"
_HOME: Final = "home/"
_CLUSTER: Final = "postgres/"
_TABLES: Final = "tables/"
_DESCRIPTION: Final = "tables.json"


class NotEmpty(EmbeddedError):
    """A backup cannot be restored into a place that has something."""


def register(app: typer.Typer, name: str) -> None:
    """Add the command `name`: backup or restore."""
    app.command(name)({"backup": backup, "restore": restore}[name])


def backup(
    folder: Annotated[
        Path, typer.Argument(help="The folder for the backup. It is created if it is missing.")
    ],
    key_file: Annotated[
        Path | None,
        typer.Option(help="Encrypt the backup with the content of this file, at least 32 random bytes."),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1, help="Afterwards, delete all backups of this instance in the folder but this many."
        ),
    ] = None,
    dump: Annotated[
        bool,
        typer.Option(
            "--dump",
            help="Write the rows of the tables instead of the files of the embedded PostgreSQL. With DATABASE_URL, the rows are always written.",
        ),
    ] = False,
) -> None:
    """Write the database, the agents and the settings without secrets into one file, and print its path.

    The instance goes on answering. Without a running instance, PostgreSQL runs during the backup.
    """
    with reporting(), _failures():
        settings = load()
        layout = Layout.of(settings.home)
        if not layout.is_home():
            raise EmbeddedError(
                f"{layout.home} is not a Responsa data folder",
                "set RESPONSA_HOME to the folder of the instance",
            )
        key = None if key_file is None else read_key(key_file)
        lock = PlaceLock(layout.home / "backup.lock", "A backup")
        lock.acquire()
        try:
            with database(settings):
                done = _write(
                    settings, layout, folder.absolute(), key, dump=dump or settings.database_url is not None
                )
        finally:
            lock.release()
        if keep is not None:
            for old in _backups(layout, done.parent)[:-keep]:
                with file_errors(old):
                    old.unlink()
        typer.echo(done)


def restore(
    archive: Annotated[Path, typer.Argument(help="The file of a backup.")],
    key_file: Annotated[
        Path | None, typer.Option(help="The key file with which the backup was encrypted.")
    ] = None,
) -> None:
    """Make an instance in RESPONSA_HOME from a backup. The folder must be missing or empty; with DATABASE_URL, the database must be empty too.

    The whole backup is checked before anything is written. Start the instance with `responsa up` afterwards. It is paused:
    until `responsa activate`, it continues no turn, runs no job, and calls no tool with effects.
    """
    with reporting(), _failures():
        settings = load()
        layout = Layout.of(settings.home)
        key = None if key_file is None else read_key(key_file)
        header, description = _check(archive, key)
        _check_place(settings, layout, header)
        existed = layout.home.exists()
        try:
            _restore(settings, layout, archive, key, header, description)
        except BaseException:
            _undo(settings, layout, existed=existed)
            raise
        typer.echo(f"Restored {layout.home} from the backup of {header.time}. Start it with `responsa up`.")
        typer.echo(
            "It is paused: it answers questions, but does nothing outside, until `responsa activate`. Activate it only if the original instance runs no more."
        )
        if header.left_out:
            typer.echo(
                f"These settings were secrets and are not in the backup; set them again: {', '.join(header.left_out)}"
            )


@contextmanager
def _failures() -> Generator[None]:
    try:
        yield
    except DumpError as error:
        raise EmbeddedError(str(error), error.remedy) from error
    except MigrationError as error:
        raise EmbeddedError(str(error), "see docs/operations.md, Migrations") from error
    except psycopg.OperationalError as error:
        raise EmbeddedError(
            f"The database cannot be reached: {reason_of(error)}",
            "check DATABASE_URL, and that PostgreSQL runs",
        ) from error


def _write(settings: Settings, layout: Layout, folder: Path, key: bytes | None, *, dump: bool) -> Path:
    """Write the backup. Its name begins with a dot until it is complete."""
    began = datetime.now(UTC)
    stem = _stem(layout)
    target = folder / f"{stem}{began:%Y%m%dT%H%M%S}.{began.microsecond // 1000:03}Z{SUFFIX}"
    draft = folder / f".{target.name}"
    own = settings.database_url
    url = own.get_secret_value() if own else EmbeddedPostgres(layout).dsn("superuser")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob(f".{stem}*{SUFFIX}"):  # by a backup that was killed
            left.unlink()
        with (
            psycopg.connect(url, autocommit=True) as connection,
            create_private(draft) as file,
        ):
            found = snapshot(connection) if dump else None
            written, left_out = without_secrets(settings)
            header = Header(
                "dump" if dump else "base",
                __version__,
                began.isoformat(timespec="seconds"),
                [(name, digest.hex()) for name, digest in applied(connection)],
                connection.info.server_version // 10000,
                platform.machine(),
                left_out,
            )
            with writing(file, header, key) as writer:
                _add_files(settings, layout, writer, written)
                if found is None:
                    _add_cluster(layout, writer)
                else:
                    _add_rows(found, writer)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(target)
        size = target.stat().st_size
        facts = {"time": began.isoformat(timespec="seconds"), "bytes": size, "file": str(target)}
        write_private(layout.last_backup, json.dumps(facts) + "\n")
    except OSError as error:
        raise of_os_error(error, folder) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return target


def _stem(layout: Layout) -> str:
    """With what the names of this instance's backups begin."""
    return f"responsa-{layout.instance[:8]}-"


def _backups(layout: Layout, folder: Path) -> Sequence[Path]:
    """The backups of this instance in a folder, oldest first."""
    return sorted(folder.glob(f"{_stem(layout)}*{SUFFIX}"))


def _add_files(settings: Settings, layout: Layout, writer: Writer, written: str) -> None:
    if written:
        writer.bytes(_HOME + SETTINGS_FILE, written.encode())
    if layout.docs_record.is_file():
        writer.bytes(f"{_HOME}{layout.docs_record.relative_to(layout.home)}", layout.docs_record.read_bytes())
    folders = {
        "agents.folder": (settings.agents.folder or layout.home / "agents", "*"),
        # Their other files may be secrets that the declarations name, or databases of their own.
        "tools.folder": (settings.tools_folder, "*.toml"),
        "sources.folder": (settings.connections_folder, "*.toml"),
        "sources.webhooks_folder": (settings.webhooks_folder, "*.toml"),
    }
    for setting, (folder, pattern) in folders.items():
        if not folder.is_relative_to(layout.home):
            typer.echo(
                f"Not in the backup: {folder} ({setting}), because it is outside the data folder.", err=True
            )
            continue
        for path in sorted(folder.rglob(pattern)):
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    writer.file(f"{_HOME}{path.relative_to(layout.home)}", file, path.stat().st_size)


def _add_cluster(layout: Layout, writer: Writer) -> None:
    with base_backup(layout) as files:
        for entry in files:
            name = _CLUSTER + entry.name.removeprefix("./")
            if entry.isdir():
                writer.folder(name)
            elif (content := files.extractfile(entry)) is not None:
                writer.file(name, content, entry.size)


def _add_rows(found: Snapshot, writer: Writer) -> None:
    writer.bytes(_DESCRIPTION, found.description.to_json().encode())
    for number, table in enumerate(found.description.tables):
        for piece, rows in enumerate(found.rows(table)):
            writer.bytes(f"{_TABLES}{number}/{piece}", rows)


def _check(archive: Path, key: bytes | None) -> tuple[Header, Description | None]:
    """Read the whole backup, and compare it with its manifest and this version. Returns also the tables of a dump."""
    texts: dict[str, bytes] = {}

    def take(member: Member) -> None:
        if member.name == _DESCRIPTION and member.content is not None:
            texts[member.name] = member.content.read()

    try:
        header = read(archive, key, take)
    except OSError as error:
        raise EmbeddedError(
            f"The backup {archive} cannot be read ({error.strerror})", "name a file that this user may read"
        ) from error
    known = [(one.name, one.sha256.hex()) for one in load_migrations()]
    if strangers := [name for (name, digest) in header.migrations if (name, digest) not in known]:
        raise NewerArchive(
            f"The backup was made by Responsa {header.release}, whose migration {strangers[0]} this version does not know",
            "restore it with that version or a newer one",
        )
    return header, Description.of_json(texts[_DESCRIPTION]) if texts else None


def _check_place(settings: Settings, layout: Layout, header: Header) -> None:
    if not layout.is_deleted() or present(layout.cluster):
        raise NotEmpty(f"{layout.home} is not empty", EMPTY_FOLDER)
    if settings.database_url is not None:
        if header.kind == "base":
            raise EmbeddedError(
                "The backup has the files of an embedded PostgreSQL, and DATABASE_URL names another one",
                "unset DATABASE_URL, or make a backup with --dump",
            )
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            if not is_empty(connection):
                raise NotEmpty(
                    "The database that DATABASE_URL names has tables of Responsa", "name an empty database"
                )
    elif header.kind == "base" and (str(header.postgres), header.machine) != (MAJOR, platform.machine()):
        raise EmbeddedError(
            f"The backup has the files of a PostgreSQL {header.postgres} for {header.machine}, and this machine has {MAJOR} for {platform.machine()}",
            "make a backup with --dump, or restore this one on such a machine",
        )


def _restore(
    settings: Settings,
    layout: Layout,
    archive: Path,
    key: bytes | None,
    header: Header,
    tables: Description | None,
) -> None:
    layout.prepare()
    if tables is None:
        with file_errors(layout.home):
            cluster = ClusterDraft(layout)
            read(archive, key, lambda member: _take_file(layout, member, cluster))
        cluster.start(BEGIN)
    with database(settings):
        urls = database_urls(settings, layout)
        if tables is not None:
            asyncio.run(migrate(urls.owner, load_migrations()[: len(header.migrations)], restoring=True))
            # Many vectors are stored much faster without the index.
            asyncio.run(drop_unused_index(urls.owner))
            with loading(urls.owner, tables) as add_rows:
                read(archive, key, lambda member: _take_rows(layout, member, add_rows))
        with contextlib.suppress(SettingsError):  # the restored settings may lack a secret
            settings = load()
        asyncio.run(bring_up_to_date(settings, layout, restoring=True))
        asyncio.run(_finish(settings, layout))


def _take_file(layout: Layout, member: Member, cluster: ClusterDraft | None = None) -> None:
    if cluster is not None and member.name.startswith(_CLUSTER):
        cluster.add(member.name.removeprefix(_CLUSTER), member.content)
    elif member.name.startswith(_HOME) and member.content is not None:
        path = layout.home / member.name.removeprefix(_HOME)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with create_private(path) as file:
            shutil.copyfileobj(member.content, file)
    elif member.content is not None:
        raise DamagedArchive(
            f"The backup cannot be used: its member {member.name} is unknown", "use another backup"
        )


def _take_rows(layout: Layout, member: Member, add: Callable[[int, Iterator[bytes]], None]) -> None:
    if member.content is None or member.name == _DESCRIPTION:
        return
    if member.name.startswith(_TABLES):
        table = int(member.name.removeprefix(_TABLES).partition("/")[0])
        add(table, iter(partial(member.content.read, CHUNK), b""))
    else:
        _take_file(layout, member)


async def _finish(settings: Settings, layout: Layout) -> None:
    """Hold the turns that were open, and let servers start."""
    async with pools_of(settings, layout) as pools:
        if settings.tokens.secret_file is None:
            # The secret that opens the old keys is not in the backup.
            await tokens_on(settings, layout, pools).rotate()
        await PostgresPause(pools).hold()


def _undo(settings: Settings, layout: Layout, *, existed: bool) -> None:
    """Remove what a restore that failed has written, so that it can be repeated."""
    if settings.database_url is not None:
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            remove_schemas(connection)
    if layout.home.is_dir():
        purge(layout)
    if existed:
        layout.home.mkdir(mode=0o700, exist_ok=True)
