"""Sources, which turn the rows of a database, the pages of websites or the files of folders into documents, the
connections that they use, their runs, and the profiles of persons."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from responsa_contract import FolderKind
from responsa_server.domain import names
from responsa_server.domain.rows import Row
from responsa_server.domain.runs import DocumentKey, Fetched, RunClaim
from responsa_server.domain.tools import SecretPlace

MAX_KEY_BYTES: Final = 400
MAX_TEXT_BYTES: Final = 1024 * 1024
"""The maximum length of a cell and of the text that a row makes."""


def bytes_of(value: str | bytes) -> int:
    """The length of a text in UTF-8. Text that was not valid UTF-8 counts as the characters that stand for it."""
    if isinstance(value, bytes) or value.isascii():
        return len(value)
    return len(value.encode(errors="surrogatepass"))


class DatabaseKind(StrEnum):
    """The databases that can be read."""

    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    """MySQL and MariaDB."""
    SQLITE = "sqlite"


class DatabaseTls(StrEnum):
    """How a connection is protected. VERIFY: encrypted, and the server's certificate is checked against the system's
    authorities. REQUIRE: encrypted. OFF: neither."""

    VERIFY = "verify"
    REQUIRE = "require"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class DatabaseConnection:
    """A connection that the owner of the installation declared.

    tenants: the tenants that may use it; "*" stands for all. file: the path of an SQLite database; "" for all other
    kinds, which have the fields from `host` on.
    seconds: the time limit of each statement. rows, columns: the limits of each query's result. password: None for a
    login without a password.
    """

    name: str
    kind: DatabaseKind
    tenants: Sequence[str]
    file: str = ""
    host: str = ""
    port: int = 0
    database: str = ""
    user: str = ""
    password: SecretPlace | None = None
    tls: DatabaseTls = DatabaseTls.VERIFY
    seconds: float = 30.0
    rows: int = 100_000
    columns: int = 100

    def granted(self, tenant_id: str) -> bool:
        return "*" in self.tenants or tenant_id in self.tenants


@dataclass(frozen=True, slots=True)
class WebConnection:
    """Websites that the owner of the installation declared.

    tenants: as of a database. sites: the only origins that are read, such as `https://docs.example.org`. allow_private:
    hosts and networks of the organisation that may be reached although their addresses are not public. seconds: the
    time limit of each request. delay: the seconds of pause between two requests to a host. pages: the most pages of a
    source. page_bytes: the size limit of a page.
    """

    name: str
    tenants: Sequence[str]
    sites: Sequence[str]
    allow_private: Sequence[str] = ()
    seconds: float = 30.0
    delay: float = 1.0
    pages: int = 10_000
    page_bytes: int = 8 << 20

    def granted(self, tenant_id: str) -> bool:
        return "*" in self.tenants or tenant_id in self.tenants


SourceConnection = DatabaseConnection | WebConnection


class DatabaseFault(StrEnum):
    """Why a database or a website cannot be read."""

    UNREACHABLE = "UNREACHABLE"
    """It does not accept connections, or a connection broke."""
    LOGIN = "LOGIN"
    """It refuses the user or the password, or the password is missing here."""
    MAY_WRITE = "MAY_WRITE"
    """The user has rights to change something."""
    NOT_GRANTED = "NOT_GRANTED"
    """The connection is not declared any more, or not granted to the tenant."""
    OWN_DATABASE = "OWN_DATABASE"
    """It is Responsa's own database."""
    TIMEOUT = "TIMEOUT"
    """A statement took longer than the connection allows, or a preview too long."""
    QUERY = "QUERY"
    """The database refuses the query."""
    TOO_LARGE = "TOO_LARGE"
    """The result has too many rows or columns, or too long a row."""
    BUDGET = "BUDGET"
    """The run ended by its budget, and what it had read until then was kept."""
    CRASHED = "CRASHED"
    """The process that reads an SQLite file ended in the midst of a query."""
    SCHEMA = "SCHEMA"
    """The result lacks columns that the mapping names."""
    PAUSED = "PAUSED"
    """The instance was restored and is paused."""


class DatabaseProblem(Exception):
    """A database cannot be read. The message never contains a password or data."""

    def __init__(self, fault: DatabaseFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a query's result. columns: the names of the columns in their order. Values are those of the database's driver."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


class DatabaseSession(Protocol):
    """Queries of one database."""

    def read(self, sql: str, values: Mapping[str, str], limit: int) -> AsyncGenerator[Rows]:
        """Run a query, with these values for its places such as `:subject`, and return its rows in pieces: one piece at
        least. Without a row, the only piece is empty.

        limit: the number of rows after which the reading stops. As long as each query is read to its end, the next one
        sees the database at the same moment. Raises DatabaseProblem, also in the midst of the result.
        """
        ...


class Databases(Protocol):
    """Reads the databases of the organisation."""

    def session(
        self, connection: DatabaseConnection, tenant_id: str
    ) -> AbstractAsyncContextManager[DatabaseSession]:
        """Read a database during the block, by one query after the other. Every session opens a connection and checks
        that its user may not write. A tenant has one session at a time. Raises DatabaseProblem."""
        ...


DELETIONS_PERCENT: Final = 10
"""The percentage of a source's documents that a run may delete unless the mapping or the folder says otherwise."""


@dataclass(frozen=True, slots=True)
class ConnectedFolder:
    """A folder whose files become documents; the fields are those of the contract. collection: its id. password: one
    that was entered now, or is being used. sealed_password: the stored one, encrypted; b"" for none."""

    kind: FolderKind
    address: str
    collection: str
    schedule: str = ""
    time_zone: str = "UTC"
    deletions_percent: int = DELETIONS_PERCENT
    branch: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    sealed_password: bytes = field(default=b"", repr=False)
    region: str = ""
    source_code: bool = False

    @property
    def password_stored(self) -> bool:
        return bool(self.sealed_password)

    def place(self, tenant_id: str) -> str:
        """What a stored password is for."""
        return "\n".join(("source", tenant_id, self.kind.value, self.address, self.user))


@dataclass(frozen=True, slots=True)
class NewSource:
    """A source to create. mapping: the text of its mapping, in TOML; "" for a folder."""

    id: str
    display_name: str
    mapping: str
    folder: ConnectedFolder | None = None


@dataclass(frozen=True, slots=True)
class SourceChange:
    """An update; None leaves a field unchanged."""

    display_name: str | None = None
    mapping: str | None = None
    folder: ConnectedFolder | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A stored source. connection, collection: the names in its mapping; for a folder, its kind and its collection.
    next_run_time: when its schedule begins the next run; None without a schedule. revision: a number that starts at 1
    and increases with every update. newest_run: its newest run of the last 30 days. check_time: when a run last read
    all. problem: why the newest run failed; None if it did not."""

    id: str
    display_name: str
    mapping: str
    connection: str
    collection: str
    revision: int
    create_time: datetime
    update_time: datetime
    next_run_time: datetime | None = None
    newest_run: UUID | None = None
    folder: ConnectedFolder | None = None
    check_time: datetime | None = None
    document_count: int = 0
    failed_count: int = 0
    problem: str | None = None

    @property
    def etag(self) -> str:
        return names.etag(self.create_time, self.revision)

    @property
    def name(self) -> str:
        """The id. It orders the sources."""
        return self.id


PAGE: Final = "page"
"""The kind of the documents that are pages of websites. Their key is the address of the page."""
FILE: Final = "file"
"""The kind of the documents that are files of folders. Their key is the path below the folder."""


@dataclass(frozen=True, slots=True)
class SourcePage:
    """The bytes of a page or a file. media_type: with its parameters; "" if the site names none."""

    data: bytes
    media_type: str
    fetched: Fetched


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A document that a row, a page or a file makes. kind: the name of the table of the mapping, PAGE or FILE. key: unique within
    the source and the kind. text: "" for a page, whose bytes are parsed after the run, as those of an upload; a preview
    has its text."""

    kind: str
    key: str
    title: str
    text: str
    subject: str = ""
    uri: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    page: SourcePage | None = None

    def source_key(self, source_id: str) -> str:
        if self.kind == FILE:
            return f"{source_id}/{self.key}"
        if self.page is not None:
            return f"{source_id}/{self.key.partition('://')[2]}"
        return f"{source_id}/{self.kind}/{self.key}.md"


@dataclass(frozen=True, slots=True)
class MadeRow:
    """A row and its document of one kind. row: the values of the declared columns as plain JSON values. document: None
    if the row makes no document. problem: why the document cannot be used, or "". key, subject: of a row without a
    document, if they could be read; otherwise "".
    unchanged: whether the site says that the page is as an earlier run saw it; it then has no document here. gone:
    whether the site says that there is no such page any more.
    """

    kind: str
    row: Mapping[str, object]
    document: SourceDocument | None
    problem: str = ""
    key: str = ""
    subject: str = ""
    unchanged: bool = False
    gone: bool = False


MAX_PROFILE_DOCUMENTS: Final = 200


@dataclass(frozen=True, slots=True)
class Person:
    """A subject. user_id: the user who is the subject; None without an account. subjects: all texts with which
    documents name this person; the first one is shown."""

    user_id: UUID | None
    subjects: Sequence[str]


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile. parts: what each source holds, and at last documents that no source made: their `documents` are pairs
    of the kind in the mapping, or "", and the document. document_count: also of the documents beyond the first
    MAX_PROFILE_DOCUMENTS."""

    person: Person
    parts: Sequence[Row]
    document_count: int


SCHEDULED: Final = "schedule"
"""The cause of a run that its schedule began."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to add. subject: "" for all. confirmed: whether it may delete many documents. cause: why a notification
    asks for it, in its own words, or SCHEDULED; at most 200 bytes.
    retry: whether it makes and deletes nothing but what belongs to the rows that earlier runs set aside.
    """

    subject: str
    confirmed: bool = False
    cause: str = ""
    retry: bool = False


@dataclass(frozen=True, slots=True)
class RunTask:
    """A run to work on.

    user_id: the administrator in whose name documents are made; None if the user is not an administrator any more.
    subject: "" for all. confirmed: whether the run may delete many documents. reading: whether rows are still to be
    read; otherwise the run waits until its documents are indexed. retry: see `NewRun`.
    """

    claim: RunClaim
    source: Source
    user_id: UUID | None
    subject: str
    confirmed: bool
    reading: bool
    retry: bool = False


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document that an earlier run, or an earlier attempt, made. subject: that of the document now. pending: whether
    its newest version was not searchable when a run last looked. fetched: of a page. searched: whether a version is."""

    digest: bytes
    document_id: UUID
    subject: str
    pending: bool = False
    fetched: Fetched | None = None
    searched: bool = True


@dataclass(frozen=True, slots=True)
class NewFailure:
    """A row that makes no document. subject: "" if it could not be read."""

    at: DocumentKey
    problem: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class RunCounts:
    """What a run does. failed: the rows that it sets aside. skipped: the files that it leaves out by their suffix."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: int = 0
