"""The paths of one instance, its passwords, and the users of its parts. The paths are computed only from RESPONSA_HOME."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pwd
import secrets
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, assert_never
from urllib.parse import quote

from responsa_formats.sandbox.confinement import UnixUser
from responsa_local.embedded.errors import EMPTY_FOLDER, EmbeddedError, file_errors
from responsa_local.embedded.files import open_folder, present
from responsa_server.system.private_files import write_private

SETTINGS_FILE = "responsa.toml"
MARKER = ".responsa-home"
MARKER_TEXT = "This folder belongs to Responsa. Remove it with: responsa purge\n"
ROOT_PLACES = Path("/var/lib/responsa")
MAX_SOCKET_PATH = 99
"""The maximum length of a socket's path in bytes. This limit is below the kernel's limit of 107, to leave room for names with a suffix."""
LONGEST_SOCKET_NAME = len(".s.PGSQL.5432.lock")
STATE_VERSION = 1
PASSWORD_BYTES = 32
DATABASE = "responsa"
SUPERUSER = "postgres"
Role = Literal["owner", "app", "log", "superuser"]
REPAIR = "run `responsa up --repair`, which keeps the database and all data"
"""The remedy if the database is intact and a file beside it is not."""


class DamagedState(EmbeddedError):
    """`state.json` is damaged."""


class PasswordsLost(EmbeddedError):
    """`secrets.json` is missing or damaged."""


@dataclass(frozen=True, slots=True)
class UnixAccount:
    """A user other than root: user id and group id. name: from the passwd table; "" without an entry there."""

    name: str
    uid: int
    gid: int

    @classmethod
    def of(cls, user: UnixUser) -> UnixAccount | None:
        """The account of a part if root runs Responsa; else None: the part then runs as the user who started Responsa.

        No other program runs under it, so none reaches the part's files.
        """
        return cls("", user, user) if running_as_root() else None

    @classmethod
    def of_database(cls) -> UnixAccount | None:
        """As `of`, for PostgreSQL, which has the account `responsa` if it exists."""
        return (_find_account("responsa") or cls.of(UnixUser.POSTGRES)) if running_as_root() else None

    @classmethod
    def with_name(cls) -> UnixAccount:
        """The account for `initdb`, which refuses a user without an entry in the passwd table: `responsa`, else
        `nobody`, else the first one that is not root.

        Raises:
            EmbeddedError: the passwd table has no account other than root.
        """
        account = _find_account("responsa") or _find_account("nobody")
        if account is None and (row := next((row for row in pwd.getpwall() if row.pw_uid != 0), None)):
            account = cls(row.pw_name, row.pw_uid, row.pw_gid)
        if account is None:
            raise EmbeddedError(
                "PostgreSQL refuses to run as root and there is no other account on this machine",
                "add an account (useradd --system responsa), start as a plain user, or set DATABASE_URL",
            )
        return account


def _find_account(name: str) -> UnixAccount | None:
    """The account with this name. A directory service may find one that it does not list."""
    try:
        row = pwd.getpwnam(name)
    except KeyError:
        return None
    return UnixAccount(row.pw_name, row.pw_uid, row.pw_gid) if row.pw_uid != 0 else None


def running_as_root() -> bool:
    """Whether the effective user is root."""
    return os.geteuid() == 0


@dataclass(frozen=True, slots=True)
class DatabasePasswords:
    """The content of `secrets.json`: URL-safe passwords, each with 256 random bits. `repr` shows no password."""

    postgres_superuser: str
    postgres_owner: str
    postgres_app: str
    postgres_log: str
    redis: str

    @classmethod
    def generate(cls) -> DatabasePasswords:
        """New passwords from the operating system's random generator."""
        return cls(**{field.name: secrets.token_urlsafe(PASSWORD_BYTES) for field in fields(cls)})

    @classmethod
    def load(cls, path: Path) -> DatabasePasswords:
        """Reads `secrets.json`.

        Raises:
            EmbeddedError: the file is missing, unreadable or damaged.
        """
        what = f"{path}, which holds the passwords of the database,"
        try:
            content = json.loads(path.read_text())
            values = {field.name: content[field.name] for field in fields(cls)}
            if not all(isinstance(value, str) and len(value) >= 16 for value in values.values()):
                raise ValueError(path.name)
        except FileNotFoundError as error:
            raise PasswordsLost(f"{what} is missing", REPAIR) from error
        except PermissionError as error:
            raise EmbeddedError(
                f"{path} cannot be read by this user", "start as the user who owns it"
            ) from error
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise PasswordsLost(f"{what} is damaged", REPAIR) from error
        return cls(**values)

    def to_json(self) -> str:
        """The content of `secrets.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def __repr__(self) -> str:
        return "DatabasePasswords(…)"


@dataclass(frozen=True, slots=True)
class LocalLayout:
    """All paths of one instance. Paths are absolute. `prepare` creates the files and folders.

    `outside` holds the instance's folders outside RESPONSA_HOME. `state.json` records them, so that `purge` finds them
    even if TMPDIR has since changed.
    """

    home: Path
    run: Path
    """The folder for the sockets of the servers; mode 0700. If root runs Responsa, Envoy's group may enter it, too."""
    root_place: Path | None
    """The folder below /var/lib/responsa with the files of the parts if root runs Responsa; else None. It belongs to
    root, and each part has folders of its own in it."""
    account: UnixAccount | None
    """The account that PostgreSQL runs under if root runs Responsa; else None: PostgreSQL then runs as the user who started Responsa."""
    instance: str
    """16 hexadecimal digits that are computed from the home's path. They identify the instance in process titles."""

    @classmethod
    def of(cls, home: Path, *, repair: bool = False) -> LocalLayout:
        """Computes the paths and creates nothing. With `repair`, the paths are computed even if `state.json` is damaged; `purge` and
        `up --repair` need this.

        Raises:
            EmbeddedError: `state.json` is damaged or was copied from another home; or either the home's creator or this user is
                root, but not both; or no path is short enough for sockets.
        """
        home = home.absolute().resolve()
        try:
            state = _read_state(home / "state.json")
        except DamagedState:
            if not repair:
                raise
            state = None
        instance = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        account: UnixAccount | None = None
        root_place: Path | None = None
        if state is not None:
            instance = state.instance
            _refuse_foreign(state, home)
        if running_as_root():
            account = UnixAccount.of_database()
            root_place = ROOT_PLACES / instance
        if root_place is not None:
            run = root_place / "run"
        # The recorded folder no longer exists if the home was moved or the temp folder was emptied.
        elif state is not None and present(state.run):
            run = state.run
        else:
            run = _run_folder(home, instance)
        return cls(
            home=home,
            run=run,
            root_place=root_place,
            account=account,
            instance=instance,
        )

    @property
    def _parts(self) -> Path:
        """Where the parts have their files."""
        return self.home if self.root_place is None else self.root_place

    def _run_of(self, part: str) -> Path:
        """The folder of the sockets of a part that has its own user if root runs Responsa. Then the part owns the
        folder, and root's group may enter it; so the servers can call the part."""
        return self.run if self.root_place is None else self.root_place / f"{part}-run"

    @property
    def cluster(self) -> Path:
        """The folder of PostgreSQL's data, which belongs to `account`."""
        return self._parts / "postgres"

    @property
    def postgres_run(self) -> Path:
        """The folder of PostgreSQL's socket."""
        return self._run_of("postgres")

    @property
    def redis_run(self) -> Path:
        """The folder of Redis' socket."""
        return self._run_of("redis")

    @property
    def envoy_run(self) -> Path:
        """The folder of the socket of Envoy's admin interface."""
        return self._run_of("envoy")

    @property
    def data(self) -> Path:
        """The folder of the files that the server keeps outside the database."""
        return self.home / "data"

    @property
    def docs_record(self) -> Path:
        """The file with the digest of Responsa's own documents, which `responsa up` writes when it has loaded them."""
        return self.data / "docs.sha256"

    @property
    def logs(self) -> Path:
        """The folder of the log files, one for each part: postgres.log, redis.log, server.log, envoy.log."""
        return self.home / "logs"

    @property
    def secrets(self) -> Path:
        """Generated passwords, 0600."""
        return self.home / "secrets.json"

    @property
    def api_key(self) -> Path:
        """The file with the administrator's key, which the bootstrap writes with mode 0600."""
        return self.home / "api-key"

    @property
    def last_backup(self) -> Path:
        """The file with the `time` (RFC 3339), the size in `bytes` and the `file` of the last complete backup, as JSON."""
        return self.home / "last-backup.json"

    @property
    def port(self) -> Path:
        """The file with the port that `responsa up` has used last, in which commands look for it."""
        return self.home / "port"

    @property
    def token_secret(self) -> Path:
        """The file whose content encrypts the keys that sign tokens, 0600."""
        return self.home / "token-secret"

    @property
    def state(self) -> Path:
        """The file of facts that `purge` and the next start need."""
        return self.home / "state.json"

    @property
    def lock(self) -> Path:
        """The lock file that the home's supervisor holds (flock), so that no second supervisor can use the home."""
        return self.home / "lock"

    @property
    def marker(self) -> Path:
        """The file that makes a folder a Responsa home."""
        return self.home / MARKER

    @property
    def restoring(self) -> Path:
        """The mark of a restore: its first file and the last one that it removes, with the paths of the backup's files
        in the home, as JSON. While it is there, only a restore and a purge may use the home.
        """
        return self.home / "restoring"

    @property
    def envoy_config(self) -> Path:
        """The generated Envoy bootstrap file."""
        return self.home / "envoy.json"

    @property
    def replicas(self) -> Path:
        """The list of replicas and the endpoint files that Envoy watches. If root runs Responsa, Envoy's group may read them."""
        return self._parts / "replicas"

    @property
    def metrics(self) -> Path:
        """The files that tell Prometheus where the servers' metrics are."""
        return self._parts / "metrics"

    @property
    def redis_socket(self) -> Path:
        """The socket that Redis listens on."""
        return self.redis_run / "redis.sock"

    @property
    def model_socket(self) -> Path:
        """The socket of the small language model, in a folder with mode 0700."""
        return self.run / "llama.sock"

    @property
    def server_socket(self) -> Path:
        """The socket of the gRPC server behind Envoy."""
        return self.run / "server.sock"

    @property
    def gateway_socket(self) -> Path:
        """The socket of the gateway's HTTP side behind Envoy."""
        return self.run / "gateway.sock"

    @property
    def restart_socket(self) -> Path:
        """The socket on which `responsa up` takes the requests of `responsa restart`."""
        return self.run / "restart.sock"

    @property
    def envoy_admin_socket(self) -> Path:
        """The socket of Envoy's admin interface, which `EmbeddedEnvoy.ready` queries."""
        return self.envoy_run / "envoy-admin.sock"

    @property
    def cluster_name(self) -> str:
        """PostgreSQL's cluster_name, which appears in the title of each PostgreSQL process."""
        return f"responsa-{self.instance}"

    @property
    def outside(self) -> tuple[Path, ...]:
        """The folders of this instance outside RESPONSA_HOME."""
        places: list[Path] = []
        if self.root_place is not None:
            places.append(self.root_place)
        elif not self.run.is_relative_to(self.home):
            places.append(self.run)
        return tuple(places)

    @property
    def disks(self) -> Sequence[Path]:
        """The folders whose disks receive the instance's data."""
        return sorted({self.home, self.cluster.parent})

    @property
    def passwords(self) -> DatabasePasswords:
        """The passwords in `secrets.json`.

        Raises:
            EmbeddedError: the file is missing or damaged.
        """
        return DatabasePasswords.load(self.secrets)

    def dsn(self, role: Role, database: str = DATABASE) -> str:
        """See `EmbeddedPostgres.dsn`."""
        passwords = self.passwords
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
        host = quote(str(self.postgres_run), safe="")
        return f"postgresql://{user}:{quote(password, safe='')}@{host}:5432/{database}?sslmode=disable"

    @property
    def redis_url(self) -> str:
        """See `EmbeddedRedis.url`."""
        return f"unix://:{quote(self.passwords.redis, safe='')}@{quote(str(self.redis_socket))}?db=0"

    def is_home(self) -> bool:
        """Whether the folder holds the marker file, or a restore has begun in it."""
        return present(self.marker) or present(self.restoring)

    def is_deleted(self) -> bool:
        """Whether the folder is missing or empty."""
        return not os.path.lexists(self.home) or (self.home.is_dir() and not any(self.home.iterdir()))

    def prepare(self, *, restoring: bool = False, repair: bool = False) -> LocalLayout:
        """Creates what is missing (the home with mode 0700, folders, passwords, `state.json`) and returns this layout. Idempotent.

        Does not change an existing parent folder. Refuses a home that holds files that are not Responsa's. restoring:
        whether the caller has made the mark of a restore. With `repair`, the database stays in use although its
        passwords are lost, or the home was deleted; the caller then sets its passwords.

        Raises:
            EmbeddedError: the home is not a folder, is not writable, or holds files that are not Responsa's; the disk is full; the
                home was deleted but its database still exists; or a restore was interrupted.
        """
        if not restoring:
            self.check_restored()
        with file_errors(self.home):
            if not repair and self.is_deleted() and present(self.cluster / "PG_VERSION"):
                raise EmbeddedError(
                    f"The data folder {self.home} was deleted, but its database is still in {self.root_place}",
                    "run `responsa up --repair`, which uses this database again; agents, declarations and settings in the folder are lost",
                )
            self._take_home()
            for folder in (self.data, self.logs):
                _private_folder(folder)
            write_private(self.state, self._state_text())
            if self.root_place is None:
                _private_folder(self.run)
            else:
                self._prepare_root_place(self.root_place)
            if repair and not self._has_passwords():
                write_private(self.secrets, DatabasePasswords.generate().to_json())
            if not self.secrets.exists():
                if (self.cluster / "PG_VERSION").exists():
                    DatabasePasswords.load(self.secrets)
                write_private(self.secrets, DatabasePasswords.generate().to_json(), keep_existing=True)
            if not self.token_secret.exists():
                # If the file was lost, the keys in the database can no longer be read; `responsa admin rotate-signing-key` makes a new one.
                write_private(self.token_secret, secrets.token_urlsafe(48) + "\n", keep_existing=True)
        DatabasePasswords.load(self.secrets)
        return self

    def _has_passwords(self) -> bool:
        try:
            DatabasePasswords.load(self.secrets)
        except PasswordsLost:
            return False
        return True

    def check_home(self) -> None:
        """Checks that the home can be created, or is a folder that this instance may use. Changes nothing.

        Raises:
            EmbeddedError: the home or its nearest existing parent is not a folder or is not writable; the home holds files
                that are not Responsa's; or a restore was interrupted.
        """
        self.check_restored()
        self._check_place()

    def check_restored(self) -> None:
        """Checks that no restore into the home was interrupted, or still runs. Raises EmbeddedError."""
        if present(self.restoring):
            raise EmbeddedError(
                f"A restore into {self.home} has not finished, so the data are not complete",
                "wait for it if it still runs; otherwise run `responsa restore` with the backup again",
            )

    def _check_place(self) -> None:
        home = self.home
        with file_errors(home):
            if not os.path.lexists(home):
                parent = next((folder for folder in home.parents if present(folder)), Path("/"))
                if not parent.is_dir():
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(parent))
                _check_writable(parent, os.W_OK | os.X_OK)
                return
            if not home.is_dir():
                raise EmbeddedError(f"RESPONSA_HOME {home} is a file, not a folder", EMPTY_FOLDER)
            _check_writable(home, os.R_OK | os.W_OK | os.X_OK)
            # The user may put a settings file into the folder before the first start.
            if not self.is_home() and any(entry.name != SETTINGS_FILE for entry in home.iterdir()):
                raise EmbeddedError(
                    f"RESPONSA_HOME {home} holds other files and is not a Responsa data folder", EMPTY_FOLDER
                )

    def _take_home(self) -> None:
        self._check_place()
        self.home.parent.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(mode=0o700, exist_ok=True)
        if not present(self.marker):
            self.home.chmod(0o700)
            write_private(self.marker, MARKER_TEXT)
        elif stat.S_IMODE(self.home.stat().st_mode) & 0o077:
            self.home.chmod(0o700)

    def _prepare_root_place(self, root: Path) -> None:
        """Makes the folders of the parts. Each part reaches its own, and the sockets or files that it must."""
        if not root.parent.exists():
            root.parent.parent.mkdir(parents=True, exist_ok=True)
            root.parent.mkdir(mode=0o755, exist_ok=True)
            root.parent.chmod(0o755)
        _root_folder(root, 0, 0, 0o711)
        postgres, redis, envoy = self.account, UnixAccount.of(UnixUser.REDIS), UnixAccount.of(UnixUser.ENVOY)
        assert postgres is not None
        assert redis is not None
        assert envoy is not None
        # The set-group-id bit gives the sockets the group of their folder.
        for run, account in ((self.postgres_run, postgres), (self.redis_run, redis), (self.envoy_run, envoy)):
            _root_folder(run, account.uid, 0, 0o2710)
        _root_folder(self.run, 0, envoy.gid, 0o2710)
        _root_folder(self.replicas, 0, envoy.gid, 0o750)
        _root_folder(self.metrics, 0, 0, 0o755)

    def _state_text(self) -> str:
        content = {
            "version": STATE_VERSION,
            "home": str(self.home),
            "instance": self.instance,
            "run": str(self.run),
            "root": self.root_place is not None,
            "account": self.account.name or None if self.account else None,
            "outside": [str(path) for path in self.outside],
        }
        return json.dumps(content, indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class _State:
    home: Path
    instance: str
    run: Path
    root: bool


def _read_state(path: Path) -> _State | None:
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise EmbeddedError(
            f"The data folder {path.parent} belongs to another user",
            "start as that user, or set RESPONSA_HOME to a folder of your own",
        ) from error
    try:
        content = json.loads(text)
        state = _State(
            home=Path(content["home"]),
            instance=str(content["instance"]),
            run=Path(content["run"]),
            root=bool(content["root"]),
        )
        if len(state.instance) != 16 or not set(state.instance) <= set("0123456789abcdef"):
            raise ValueError(state.instance)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedState(f"{path} is damaged", REPAIR) from error
    return state


def _refuse_foreign(state: _State, home: Path) -> None:
    if state.root != running_as_root():
        maker, now = ("root", "a plain user") if state.root else ("a plain user", "root")
        raise EmbeddedError(
            f"The data folder {home} was created by {maker} and cannot be used by {now}",
            f"start as {maker}, or set RESPONSA_HOME to another folder",
        )
    if state.home != home and present(state.home / MARKER):
        raise EmbeddedError(
            f"The data folder {home} is a copy of {state.home}, which still exists",
            "use the original, or set RESPONSA_HOME to another folder",
        )


def _run_folder(home: Path, instance: str) -> Path:
    folders = [home / "run"]
    for temp in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  this is only the parent; the folder in it is private
        folders.append(Path(temp).resolve() / f"responsa-{os.geteuid()}-{instance}")
    for folder in folders:
        if len(os.fsencode(folder)) + 1 + LONGEST_SOCKET_NAME <= MAX_SOCKET_PATH:
            return folder
    raise EmbeddedError(
        f"The path {folders[0]} is too long for sockets, and so is the path of the temp folder",
        "set RESPONSA_HOME or TMPDIR to a shorter path",
    )


def _check_writable(folder: Path, access: int) -> None:
    if not os.access(folder, access):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _private_folder(folder: Path) -> None:
    """Makes `folder` with mode 0700. Refuses a folder that another user has created, because any user can create
    folders in a shared temp folder."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise EmbeddedError(
                f"{folder} is not a folder of this user",
                "remove it, or set RESPONSA_HOME or TMPDIR to another path",
            ) from None
        if stat.S_IMODE(status.st_mode) != 0o700:
            folder.chmod(0o700)


def _root_folder(folder: Path, uid: int, gid: int, mode: int) -> None:
    """Makes `folder` if it is missing, and gives it this owner, group and mode. Follows no link."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if (status.st_mode, status.st_uid, status.st_gid) == (stat.S_IFDIR | mode, uid, gid):
        return  # a server may not change or open the folders of others
    with open_folder(folder) as descriptor:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
