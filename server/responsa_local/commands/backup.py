"""The commands `responsa backup`, which writes a running instance into one file, and `responsa restore`, which makes an
instance of the file."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Final

import psycopg
import typer

from responsa_local.commands.admin import database
from responsa_local.commands.archive import (
    CHUNK,
    BackupHeader,
    BackupMember,
    BackupWriter,
    DamagedArchive,
    NewerArchive,
    read,
    read_key,
    writing,
)
from responsa_local.commands.backup_places import BackupPlace, Opening, opening, place
from responsa_local.commands.failures import reporting
from responsa_local.embedded import EmbeddedError, EmbeddedPostgres, LocalLayout
from responsa_local.embedded.base_backup import LEFT_OUT, ClusterDraft, base_backup, is_of_cluster
from responsa_local.embedded.errors import EMPTY_FOLDER, file_errors, of_os_error
from responsa_local.embedded.files import FolderLock, present
from responsa_local.embedded.layout import SETTINGS_FILE
from responsa_local.embedded.postgres import MAJOR
from responsa_local.embedded.purge import purge
from responsa_server import __version__
from responsa_server.app.accounts import tokens_on
from responsa_server.app.resources import bring_up_to_date, database_urls, pools_of, reason_of, refusal
from responsa_server.app.settings import (
    Settings,
    SettingsError,
    environment,
    load,
    settings_file,
    without_secrets,
)
from responsa_server.cli.output import EXIT_INTERRUPTED, echo
from responsa_server.domain.formatting import counted
from responsa_server.stores.postgres.dump import (
    MOST_DESCRIPTION_BYTES,
    DatabaseSnapshot,
    DumpDescription,
    DumpError,
    compare,
    first_migration,
    is_empty,
    loading,
    never_used,
    note_backup,
    read_migrations,
    remove_schemas,
    snapshot,
)
from responsa_server.stores.postgres.migrate import check_form, migrate
from responsa_server.stores.postgres.migrate import load as load_migrations
from responsa_server.stores.postgres.pause import BEGIN, PostgresPause
from responsa_server.stores.postgres.vectors import drop_unused_index
from responsa_server.system.machine import free_space
from responsa_server.system.private_files import create_private, write_private

SUFFIX: Final = ".backup"
_HOME: Final = "home/"
_CLUSTER: Final = "postgres/"
_TABLES: Final = "tables/"
_DESCRIPTION: Final = "tables.json"
_PIECE: Final = re.compile(r"(0|[1-9][0-9]{0,8})/(0|[1-9][0-9]{0,8})")
_DOCS_RECORD: Final = "data/docs.sha256"
_FOLDERS: Final = {"agents": "*", "tools": "*.toml", "connections": "*.toml", "webhooks": "*.toml"}
"""The folders of the home, and which of their files a backup has. Other files may be secrets that the declarations
name, or databases of their own."""
_RETRY_SECONDS: Final = 600
_DRAFT: Final = re.compile(r"\.(.+)\.[0-9a-f]{16}\.new")


class NotEmpty(EmbeddedError):
    """A backup cannot be restored into a place that has something."""


def register(app: typer.Typer, name: str) -> None:
    """Add the command `name`: backup or restore."""
    app.command(name)({"backup": backup, "restore": restore}[name])


def backup(
    destination: Annotated[str, typer.Argument(metavar="FOLDER")],
    key_file: Path | None = None,
    keep: Annotated[int | None, typer.Option(min=1)] = None,
    every: Annotated[float | None, typer.Option(min=0.0001, metavar="HOURS")] = None,
    dump: Annotated[bool, typer.Option("--dump")] = False,
) -> None:
    """Write the database, the agents and the settings without secrets into one file, and print its path.

    The instance continues to answer. Without a running instance, PostgreSQL runs during the backup, but not with --every.

    Args:
        destination: The folder for the backup, which is created if it is missing, or s3://BUCKET/PREFIX in a
            store with S3's protocol. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL
            say how to reach it.
        key_file: Encrypt the backup with the content of this file, at least 32 random bytes.
        keep: Afterwards, delete all backups of this instance in the folder but this many.
        every: Keep running, and make a backup every so many hours. A failed backup is reported, and tried again
            after at most 10 minutes.
        dump: Write the rows of the tables instead of the files of the embedded PostgreSQL. With DATABASE_URL,
            the rows are always written.
    """
    while True:
        began = time.monotonic()
        pause = (every or 0) * 3600
        try:
            with reporting(), _failures():
                echo(_back_up(place(destination), key_file, keep, dump=dump, again=every is not None))
        except typer.Exit as error:
            if every is None or error.exit_code == EXIT_INTERRUPTED:
                raise
            pause = min(pause, _RETRY_SECONDS)
        if every is None:
            return
        with reporting():
            time.sleep(max(0.0, pause - (time.monotonic() - began)))


def _back_up(target: BackupPlace, key_file: Path | None, keep: int | None, *, dump: bool, again: bool) -> str:
    """Make one backup, and return its address. again: whether it is one of many. Then it needs a running instance: if
    it ran PostgreSQL itself, it would keep an `up` that begins meanwhile from its database."""
    settings = load()
    layout = LocalLayout.of(settings.home)
    own_database = settings.database_url is not None
    if not (layout.is_home() or (own_database and layout.home.is_dir())):
        raise EmbeddedError(
            f"{layout.home} is not a Responsa data folder", "set RESPONSA_HOME to the folder of the instance"
        )
    layout.check_restored()
    key = None if key_file is None else read_key(key_file)
    lock = FolderLock(layout.home / "backup.lock", "A backup")
    lock.acquire()
    try:
        if again and not own_database and refusal(EmbeddedPostgres(layout).dsn("owner")):
            raise EmbeddedError(
                "The instance does not run", "start it; the backup is then made within ten minutes"
            )
        with nullcontext() if again else database(settings):
            name = _write(settings, layout, target, key, dump=dump or own_database)
    finally:
        lock.release()
    if keep is not None:
        prefix, _, _ = name.rpartition("-")
        for old in target.names(f"{prefix}-", SUFFIX)[:-keep]:
            target.delete(old)
    return target.address(name)


def restore(
    archive: Annotated[str, typer.Argument(metavar="FILE")],
    key_file: Path | None = None,
    check: Annotated[bool, typer.Option("--check")] = False,
) -> None:
    """Create an instance in RESPONSA_HOME from a backup. The folder must be missing or empty; with DATABASE_URL, the
    database must be empty too.

    The whole backup is checked before anything is written. Start the instance with `responsa up` afterwards. It is
    paused: until `responsa activate`, it continues no turn, runs no job, and calls no tool with effects. If the command
    was interrupted, run it again.

    Args:
        archive: The file of a backup, or its address, s3://BUCKET/PREFIX/NAME.
        key_file: The key file with which the backup was encrypted.
        check: Restore beside RESPONSA_HOME instead, compare all citations with their documents and the newest
            answers with their logs, print how long it took, and remove everything again.
    """
    with reporting(), _failures():
        began = time.monotonic()
        if check:
            environment()["RESPONSA_HOME"] = str(_place_of_check(load().home))
        if not environment().get("RESPONSA_CONFIG"):
            # The settings that an interrupted restore has written may lack a secret, so they go before the settings are read.
            _start_over(LocalLayout.of(settings_file().parent))
        settings = load()
        layout = LocalLayout.of(settings.home)
        _start_over(layout)
        key = None if key_file is None else read_key(key_file)
        source = opening(archive)
        header, contents = _check(archive, source, key, layout)
        _check_place(settings, layout, header)
        if key is None:
            echo(
                (
                    "The backup is not encrypted, so somebody could have added code that would run in this "
                    "instance. Use it only if you trust everyone who could have modified the file."
                ),
                err=True,
            )
        existed = layout.home.exists()
        lock = FolderLock(layout.lock, "Responsa")
        _mark(layout, contents.home)
        lock.acquire()
        complete = False
        try:
            _restore(settings, layout, source, key, header, contents)
            if check:
                _say_checked(settings, layout, header, time.monotonic() - began)
                return
            with file_errors(layout.home):
                layout.restoring.unlink()
            complete = True
        finally:
            lock.release()
            if not complete:
                _undo(settings, layout, existed=existed)
        echo(f"Restored {layout.home} from the backup of {header.time}. Start it with `responsa up`.")
        echo(
            "It is paused: it answers questions, but does nothing outside, until `responsa "
            "activate`. Activate it only if the original instance no longer runs."
        )
        # Until here, no setting of the backup counts: it could name another database, or a file.
        with contextlib.suppress(SettingsError):  # they may lack a secret
            settings = load()
        for setting, name, folder in _own_folders(settings):
            if (kept_files := layout.home / name).is_dir() and folder.resolve() != kept_files:
                echo(f"{setting} names {folder}, and its files of the backup are in {kept_files}.")
        if header.left_out:
            echo(
                f"These settings were secrets and are not in the backup; set them again: {', '.join(header.left_out)}"
            )


def _place_of_check(home: Path) -> Path:
    """Beside the home, whose disk has room for it; else where temporary files are, as in a container that may write nowhere else."""
    folder = home.with_name(f"{home.name}.check")
    return folder if os.access(folder.parent, os.W_OK) else Path(tempfile.gettempdir()) / "responsa.check"


def _say_checked(settings: Settings, layout: LocalLayout, header: BackupHeader, seconds: float) -> None:
    """Compare what was restored. Raises EmbeddedError for a restored instance that lacks something."""
    own = settings.database_url
    with (
        database(settings, layout),
        psycopg.connect(
            own.get_secret_value() if own else EmbeddedPostgres(layout).dsn("superuser"), autocommit=True
        ) as connection,
    ):
        restored = compare(connection)
    sentence = (
        f"The backup of {header.time} can be restored: it took {seconds:.1f} s. "
        f"{restored.true_citations} of {counted(restored.citations, 'citation')} match their documents, and "
        f"{restored.whole_answers} of the newest {counted(restored.answers, 'answer')} are complete."
    )
    if (restored.true_citations, restored.whole_answers) != (restored.citations, restored.answers):
        raise EmbeddedError(f"{sentence.removesuffix('.')}: something is missing", "use another backup")
    echo(sentence)


@contextmanager
def _failures() -> Generator[None]:
    try:
        yield
    except DumpError as error:
        raise EmbeddedError(str(error), error.remedy) from error
    except psycopg.OperationalError as error:
        raise EmbeddedError(
            f"The database cannot be reached: {reason_of(error)}",
            "check DATABASE_URL, and that PostgreSQL runs",
        ) from error
    except psycopg.Error as error:
        raise EmbeddedError(
            f"PostgreSQL refused a statement ({error.diag.message_primary or type(error).__name__})",
            "see the log of PostgreSQL, or use another backup",
        ) from error


def _write(
    settings: Settings, layout: LocalLayout, target: BackupPlace, key: bytes | None, *, dump: bool
) -> str:
    """Write a backup, and return its name."""
    began = datetime.now(UTC)
    own = settings.database_url
    url = own.get_secret_value() if own else EmbeddedPostgres(layout).dsn("superuser")
    stem = f"responsa-{layout.instance[:8] if own is None else _of_database(url)}-"
    name = f"{stem}{began:%Y%m%dT%H%M%S}.{began.microsecond // 1000:03}Z{SUFFIX}"
    try:
        with psycopg.connect(url, autocommit=True) as connection, target.writing(name) as file:
            database_snapshot = snapshot(connection) if dump else None
            written, left_out = without_secrets(settings)
            header = BackupHeader(
                "dump" if dump else "base",
                __version__,
                began.isoformat(timespec="seconds"),
                [(migration, digest.hex()) for migration, digest in read_migrations(connection)],
                connection.info.server_version // 10000,
                platform.machine(),
                left_out,
            )
            with writing(file, header, key) as writer:
                _add_files(settings, layout, writer, written)
                if database_snapshot is None:
                    _add_cluster(layout, writer)
                else:
                    _add_rows(database_snapshot, writer)
        facts = {
            "time": began.isoformat(timespec="seconds"),
            "bytes": target.size(name),
            "file": target.address(name),
        }
        write_private(layout.last_backup, json.dumps(facts) + "\n")
    except OSError as error:
        raise of_os_error(error, layout.home) from error
    with psycopg.connect(url) as connection:
        note_backup(connection, began)
    return name


def _of_database(url: str) -> str:
    """Eight hexadecimal digits that tell an own database from others: containers all have the same data folder. A
    database and its restored copy have different ones."""
    with psycopg.connect(url) as connection:
        return hashlib.sha256(repr(first_migration(connection)).encode()).hexdigest()[:8]


def _add_files(settings: Settings, layout: LocalLayout, writer: BackupWriter, written: str) -> None:
    if written:
        writer.bytes(_HOME + SETTINGS_FILE, written.encode())
    if layout.docs_record.is_file():
        writer.bytes(_HOME + _DOCS_RECORD, layout.docs_record.read_bytes())
    for setting, name, folder in _own_folders(settings):
        if not folder.is_relative_to(layout.home) or folder == layout.home:
            echo(
                f"Not in the backup: {folder} ({setting}), because it is not a folder in the data folder.",
                err=True,
            )
            continue
        for path in sorted(folder.rglob(_FOLDERS[name])):
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    writer.file(f"{_HOME}{name}/{path.relative_to(folder)}", file, path.stat().st_size)


def _own_folders(settings: Settings) -> Sequence[tuple[str, str, Path]]:
    """The settings that name a folder of the owner's files, the name of each folder in a backup and in a new home, and the folder."""
    return [
        ("agents.folder", "agents", settings.agents.folder or settings.home / "agents"),
        ("tools.folder", "tools", settings.tools_folder),
        ("sources.folder", "connections", settings.connections_folder),
        ("home", "webhooks", settings.webhooks_folder),
    ]


def _add_cluster(layout: LocalLayout, writer: BackupWriter) -> None:
    with base_backup(layout) as files:
        for entry in files:
            name = entry.name.removeprefix("./")
            if not is_of_cluster(name, folder=entry.isdir()):
                continue
            if entry.isdir():
                writer.folder(_CLUSTER + name)
            elif (content := files.extractfile(entry)) is not None:
                writer.file(_CLUSTER + name, content, entry.size)


def _add_rows(database_snapshot: DatabaseSnapshot, writer: BackupWriter) -> None:
    writer.bytes(_DESCRIPTION, database_snapshot.description.to_json().encode())
    for number, table in enumerate(database_snapshot.description.tables):
        for piece, rows in enumerate(database_snapshot.rows(table)):
            writer.bytes(f"{_TABLES}{number}/{piece}", rows)


class _Contents:
    """What a backup has. `take` refuses every member that `backup` would not have written, or not there, and writes nothing.

    room: the maximum size of the files, in bytes; None if it does not matter. description: of a dump, else None. home:
    the paths of the files for the home.
    """

    def __init__(self, room: int | None = None) -> None:
        self.description: DumpDescription | None = None
        self.home: list[str] = []
        self._room = room
        self._has_cluster = False
        self._piece = (-1, 0)

    def take(self, member: BackupMember) -> None:
        """Look at the next member. Raises EmbeddedError."""
        top, _, rest = member.name.partition("/")
        match top:
            case "home" if member.content is not None and _is_of_home(rest):
                self.home.append(rest)
            case "postgres" if rest in LEFT_OUT or is_of_cluster(rest, folder=member.content is None):
                self._has_cluster = True
            case "tables.json" if not rest and member.content is not None and self.description is None:
                self.description = _description(member.content)
                return
            case "tables" if member.content is not None and self._follows(rest):
                return
            case _:
                raise DamagedArchive(
                    f"The backup cannot be used: its member {member.name!a} is unknown there",
                    "use another backup",
                )
        if self._room is not None:
            self._room -= member.size
            if self._room < 0:
                raise EmbeddedError(
                    "The files of the backup do not fit on the disk",
                    "free space there, or set RESPONSA_HOME to a folder on another disk",
                )

    def complete(self, header: BackupHeader) -> None:
        """Check, after the last member, that the backup has what a backup of this kind has. Raises DamagedArchive."""
        tables = 0 if self.description is None else len(self.description.tables)
        kinds = {header.kind == "base", self._has_cluster, self.description is None}
        if len(kinds) > 1 or self._piece[0] != tables - 1:
            raise DamagedArchive(
                "The backup cannot be used: a part of its database is missing", "use another backup"
            )

    def _follows(self, piece: str) -> bool:
        """Whether this piece of a table's rows comes after the last one."""
        if self.description is None or (numbers := _PIECE.fullmatch(piece)) is None:
            return False
        last, self._piece = self._piece, (int(numbers[1]), int(numbers[2]))
        return self._piece[0] < len(self.description.tables) and self._piece in (
            (last[0], last[1] + 1),
            (last[0] + 1, 0),
        )


def _is_of_home(name: str) -> bool:
    path = PurePosixPath(name)
    pattern = _FOLDERS.get(path.parts[0]) if len(path.parts) > 1 else None
    return name in (SETTINGS_FILE, _DOCS_RECORD) or (pattern is not None and path.match(pattern))


def _description(content: IO[bytes]) -> DumpDescription:
    text = content.read(MOST_DESCRIPTION_BYTES)
    try:
        if content.read(1):
            raise ValueError("too long")
        return DumpDescription.of_json(text)
    except ValueError as error:
        raise DamagedArchive(
            "The backup cannot be used: its list of tables is not that of a backup", "use another backup"
        ) from error


def _check(
    archive: str, source: Opening, key: bytes | None, layout: LocalLayout
) -> tuple[BackupHeader, _Contents]:
    """Read the whole backup, and compare it with its manifest and this version."""
    contents = _Contents(min(free_space(disk) for disk in layout.disks))
    try:
        header = read(source, key, contents.take)
    except OSError as error:
        raise EmbeddedError(
            f"The backup {archive} cannot be read ({error.strerror})", "name a file that this user may read"
        ) from error
    known = load_migrations()
    check_form([(name, bytes.fromhex(digest)) for name, digest in header.migrations], known)
    if strangers := header.migrations[len(known) :]:
        raise NewerArchive(
            f"The backup was made by Responsa {header.release}, whose migration {strangers[0][0]} this version does not know",
            "restore it with that version or a newer one",
        )
    contents.complete(header)
    return header, contents


def _check_place(settings: Settings, layout: LocalLayout, header: BackupHeader) -> None:
    begun = present(layout.restoring)
    if not (begun or layout.is_deleted()) or present(layout.cluster):
        raise NotEmpty(f"{layout.home} is not empty", EMPTY_FOLDER)
    if settings.database_url is not None:
        if header.kind == "base":
            raise EmbeddedError(
                "The backup has the files of an embedded PostgreSQL, and DATABASE_URL names another one",
                "unset DATABASE_URL, or make a backup with --dump",
            )
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            if begun and never_used(connection):
                remove_schemas(connection)
            if not is_empty(connection):
                raise NotEmpty(
                    "The database that DATABASE_URL names has tables of Responsa", "name an empty database"
                )
    elif header.kind == "base" and (str(header.postgres), header.machine) != (MAJOR, platform.machine()):
        raise EmbeddedError(
            (
                f"The backup has the files of a PostgreSQL {header.postgres} for {header.machine}, and "
                f"this machine has {MAJOR} for {platform.machine()}"
            ),
            "make a backup with --dump, or restore this one on such a machine",
        )


def _start_over(layout: LocalLayout) -> None:
    """Remove everything but its mark that an interrupted restore has written, if there was one.

    Raises:
        EmbeddedError: the restore still runs, or the folder has files that are not of it; then nothing is removed.
    """
    if not present(layout.restoring):
        return
    try:
        written: set[str] = set(json.loads(layout.restoring.read_bytes()))
    except ValueError:  # it was interrupted while it wrote the mark, before any other file
        written = set()
    names = {
        path.name
        for path in (
            *(
                layout.restoring,
                layout.marker,
                layout.state,
                layout.secrets,
                layout.token_secret,
                layout.lock,
            ),
            *(layout.logs, layout.cluster, layout.home / "run", layout.cluster.with_name(".postgres.new")),
            *(layout.home / "postgres.lock", layout.home / "redis.lock"),
        )
    }
    for path in sorted(layout.home.rglob("*")):
        name = path.relative_to(layout.home)
        draft = _DRAFT.fullmatch(name.parts[0])
        if (path.is_dir() and not path.is_symlink()) or name.as_posix() in written:
            continue
        if (draft[1] if draft else name.parts[0]) not in names:
            raise NotEmpty(
                f"A restore into {layout.home} was interrupted, and {path} is not part of it",
                "move that file away, and run `responsa restore` again",
            )
    purge(layout, keep=layout.restoring)


def _mark(layout: LocalLayout, files: Sequence[str]) -> None:
    """Make the home with the mark of a restore, or write the mark again. files: the paths of the files that the restore
    will write into the home."""
    with file_errors(layout.home):
        layout.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(
            layout.restoring, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(files, file)
            file.flush()
            os.fsync(file.fileno())


def _restore(
    settings: Settings,
    layout: LocalLayout,
    source: Opening,
    key: bytes | None,
    header: BackupHeader,
    contents: _Contents,
) -> None:
    """Write everything. settings: those of the command."""
    layout.prepare(restoring=True)
    checked = _Contents()

    def files(member: BackupMember, cluster: ClusterDraft | None = None) -> None:
        checked.take(member)
        if member.name.startswith(_HOME) and member.content is not None:
            path = layout.home / member.name.removeprefix(_HOME)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with create_private(path) as file:
                shutil.copyfileobj(member.content, file)
        elif cluster is not None and (name := member.name.removeprefix(_CLUSTER)) not in LEFT_OUT:
            cluster.add(name, member.content)

    def rows(member: BackupMember, add: Callable[[int, Iterator[bytes]], None]) -> None:
        files(member)
        if member.name.startswith(_TABLES) and member.content is not None:
            table, _, _ = member.name.removeprefix(_TABLES).partition("/")
            add(int(table), iter(partial(member.content.read, CHUNK), b""))

    if contents.description is None:
        with file_errors(layout.home):
            cluster = ClusterDraft(layout)
            read(source, key, lambda member: files(member, cluster))
        cluster.start(BEGIN)
    with database(settings, layout):
        urls = database_urls(settings, layout)
        if contents.description is not None:
            known = load_migrations()[: len(header.migrations)]
            asyncio.run(migrate(urls.owner, known, restoring=True))
            # Many vectors are stored much faster without the index.
            asyncio.run(drop_unused_index(urls.owner))
            with loading(urls.owner, contents.description) as add_rows, file_errors(layout.home):
                read(source, key, lambda member: rows(member, add_rows))
        asyncio.run(bring_up_to_date(settings, layout, restoring=True))
        asyncio.run(_finish(settings, layout))


async def _finish(settings: Settings, layout: LocalLayout) -> None:
    """Hold the turns that were open, and let servers start."""
    async with pools_of(settings, layout) as pools:
        if settings.tokens.secret_file is None:
            # The secret that opens the old keys is not in the backup.
            await tokens_on(settings, layout, pools).rotate()
        await PostgresPause(pools).hold()


def _undo(settings: Settings, layout: LocalLayout, *, existed: bool) -> None:
    """Remove what a restore that failed has written, so that it can be repeated."""
    if settings.database_url is not None:
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            remove_schemas(connection)
    if layout.home.is_dir():
        purge(layout)
    if existed:
        layout.home.mkdir(mode=0o700, exist_ok=True)
