"""Copies the files of a running PostgreSQL (a base backup), starts a PostgreSQL on such a copy, and sets new passwords
of one whose passwords were lost."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, LiteralString

import psycopg
from psycopg import sql

from responsa_local.embedded.errors import EmbeddedError, file_errors
from responsa_local.embedded.files import FolderLock, present
from responsa_local.embedded.layout import SUPERUSER, LocalLayout
from responsa_local.embedded.postgres import EmbeddedPostgres, check_cluster, package_root
from responsa_local.embedded.spawn import PLAIN_ENVIRONMENT, cannot_run, run_dying_with_parent
from responsa_server.system.private_files import create_private, write_private

_FILES = frozenset({"PG_VERSION", "backup_label"})
_FOLDERS = frozenset(
    {
        "base",
        "global",
        "pg_commit_ts",
        "pg_logical",
        "pg_multixact",
        "pg_stat",
        "pg_twophase",
        "pg_wal",
        "pg_xact",
    }
)
_EMPTY_FOLDERS = frozenset(
    {
        "pg_dynshmem",
        "pg_notify",
        "pg_replslot",
        "pg_serial",
        "pg_snapshots",
        "pg_stat_tmp",
        "pg_subtrans",
        "pg_tblspc",
    }
)
WRITTEN = {
    "postgresql.conf": "",
    "postgresql.auto.conf": "",
    "pg_hba.conf": "local all all scram-sha-256\nlocal replication all scram-sha-256\n",
    "pg_ident.conf": "",
}
"""The files that say how a cluster is run and who may enter. What an instance sets is in `EmbeddedPostgres`, so they
are the same in all clusters."""
_NOTHING: LiteralString = "SELECT"
"""A statement that does nothing."""
LEFT_OUT = frozenset({*WRITTEN, "tablespace_map"})
"""The files of a cluster that old backups have and a restore leaves out: it writes the settings itself, and there are no tablespaces."""


def is_of_cluster(name: str, *, folder: bool) -> bool:
    """Whether a backup has this file or folder of a cluster. name: its path in the cluster, as PurePosixPath writes it.
    The files that a restore writes itself are not among them."""
    first, _, rest = name.partition("/")
    if folder:
        return first in _FOLDERS or name in _EMPTY_FOLDERS
    # `.conf` files are settings, and `.signal` files make PostgreSQL a standby or recover from elsewhere. A backup that
    # somebody has changed must not bring them, so none is taken from any folder.
    return name in _FILES or (
        first in _FOLDERS and rest != "" and PurePosixPath(name).suffix not in (".conf", ".signal")
    )


@contextmanager
def base_backup(layout: LocalLayout) -> Generator[tarfile.TarFile]:
    """The files of the running cluster, as a stream of tar: each member must be read before the next one.

    The files and the write-ahead log (WAL) among them make a consistent database as of the end of the copy. Sessions go on.

    Raises:
        EmbeddedError: PostgreSQL refuses, or ends.
    """
    postgres = EmbeddedPostgres(layout)
    program = package_root() / "pginstall18" / "bin" / "pg_basebackup"
    command = [
        str(program),
        "--pgdata=-",
        "--format=tar",
        "--wal-method=fetch",
        "--checkpoint=fast",
        "--no-manifest",
        "--no-password",
        f"--host={layout.postgres_run}",
        f"--username={SUPERUSER}",
    ]
    environment = {**PLAIN_ENVIRONMENT, "PGPASSWORD": layout.passwords.postgres_superuser}
    with (
        psycopg.connect(postgres.dsn("superuser"), autocommit=True) as connection,
        tempfile.TemporaryFile() as stderr,
    ):
        # The WAL comes last. This slot, which ends with the connection, keeps it until then.
        connection.execute(
            "SELECT pg_create_physical_replication_slot(%s, true, true)", [f"responsa_backup_{os.getpid()}"]
        )
        try:
            process = run_dying_with_parent(command, environment, stderr)
        except OSError as error:
            raise cannot_run(command[0], error) from error
        with process:
            assert process.stdout is not None
            try:
                with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                    yield tar
                # `tarfile` stops at the mark of the end. What follows is read, so that pg_basebackup can write it and does
                # not fail.
                while process.stdout.read(1 << 20):
                    pass
            except tarfile.ReadError:
                pass  # the program's own message says why it has written so little
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            stderr.seek(0)
            lines = stderr.read().decode(errors="replace").splitlines() or ["it said nothing"]
            raise EmbeddedError(
                f"PostgreSQL refused the backup ({lines[-1]})", "see logs/postgres.log in the data folder"
            )


class ClusterDraft:
    """A new cluster, which is written next to its place and then moved there. `layout` is prepared and has no cluster."""

    def __init__(self, layout: LocalLayout) -> None:
        self._layout = layout
        if layout.root_place is None:
            self._folder = layout.cluster.with_name(".postgres.new")
            self._folder.mkdir(mode=0o700)
        else:
            # Root runs Responsa, and PostgreSQL has an account of its own (`layout.account`), which could plant links in
            # its own folder. So root writes in a new folder that only root can enter.
            target = layout.root_place
            self._folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))

    def add(self, name: str, content: IO[bytes] | None) -> None:
        """Write a file, or make a folder. name: its path in the cluster. Raises OSError."""
        path = self._folder / name
        if content is None:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with create_private(path) as file:
            shutil.copyfileobj(content, file, 1 << 20)

    def start(self, first: LiteralString = _NOTHING) -> None:
        """Move the cluster to its place, let PostgreSQL recover it, and do the same as `set_passwords`.

        Raises:
            EmbeddedError: PostgreSQL does not start.
        """
        layout = self._layout
        with file_errors(layout.cluster):
            for name, text in WRITTEN.items():
                write_private(self._folder / name, text)
            if (account := layout.account) is not None:
                for folder, _, names in os.walk(self._folder):
                    for path in map(Path(folder).joinpath, ("", *names)):  # "" is the folder itself
                        os.chown(path, account.uid, account.gid)
            self._folder.rename(layout.cluster)
        # The backup has no passwords of the database.
        set_passwords(layout, first)


def set_passwords(layout: LocalLayout, first: LiteralString = _NOTHING) -> None:
    """Start the cluster without asking for passwords, run the statement `first` in its database, give all roles the
    passwords in `secrets.json`, and stop the cluster.

    Raises:
        EmbeddedError: PostgreSQL does not start.
    """
    # The account that runs PostgreSQL could plant links in its own folder, so root writes the rule next to it.
    parent = layout.run if layout.root_place is None else layout.root_place.parent
    with (
        file_errors(parent),
        tempfile.TemporaryDirectory(prefix=f".hba-{layout.instance}-", dir=parent) as folder,
    ):
        rule = Path(folder, "pg_hba.conf")
        rule.write_text(
            "local all all trust\n", encoding="ascii"
        )  # nobody else can enter the folder of the socket
        # PostgreSQL's account reads the rule. It may not list the folder or write to it.
        rule.chmod(0o644)
        rule.parent.chmod(0o711)
        postgres = EmbeddedPostgres(layout, settings=[("hba_file", str(rule))])
        postgres.start()  # this gives all other roles their passwords
        try:
            with psycopg.connect(postgres.dsn("superuser"), autocommit=True) as connection:
                connection.execute(first)
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                        sql.Identifier(SUPERUSER), sql.Literal(layout.passwords.postgres_superuser)
                    )
                )
        finally:
            postgres.stop()


def repair(layout: LocalLayout) -> None:
    """Give an intact cluster new passwords if those in `secrets.json` are missing, damaged or not its own. Makes what
    else is missing in the home, but no cluster.

    Raises:
        EmbeddedError: there is no intact cluster; or a supervisor runs on the home.
    """
    check_cluster(layout)
    if not present(layout.cluster / "PG_VERSION"):
        raise EmbeddedError(
            f"There is no database in {layout.cluster}, so there is nothing to repair",
            "if RESPONSA_HOME names the right folder, restore a backup into a new one (docs/backup.md)",
        )
    layout.prepare(repair=True)
    lock = FolderLock(layout.lock, "Responsa")
    lock.acquire()
    try:
        set_passwords(layout)
    finally:
        lock.release()
