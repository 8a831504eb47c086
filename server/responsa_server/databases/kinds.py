"""The kinds of databases: how each is opened, how its session is made harmless, and what its errors mean."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol
from urllib.parse import quote

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.types.datetime import (
    DateLoader,
    IntervalLoader,
    TimeLoader,
    TimestampLoader,
    TimestamptzLoader,
    TimetzLoader,
)
from psycopg.types.json import set_json_loads

from responsa_server.domain.sources import (
    DatabaseConnection,
    DatabaseFault,
    DatabaseKind,
    DatabaseProblem,
    DatabaseTls,
)

if TYPE_CHECKING:
    # At run time, SQLAlchemy is imported with the first connection: it would take a tenth of a second of each start.
    import sqlalchemy

_CONNECT_SECONDS: Final = 5
ROW_BYTES: Final = 16 << 20
"""The length from which a row is refused."""
_TOO_LONG: Final = psycopg.errors.InvalidArgumentForWidthBucketFunction.sqlstate
# The files of authorities of Debian, Red Hat, SUSE, and of Alpine and macOS.
_AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Driver(Protocol):
    """What differs between the kinds of databases."""

    def engine(self, declared: DatabaseConnection, password: str) -> sqlalchemy.Engine:
        """An engine without a pool. Connects to nothing."""
        ...

    def prepare(self, connection: sqlalchemy.Connection, declared: DatabaseConnection) -> None:
        """Make the session read-only and bound its statements. Raises DatabaseProblem if the login may write, or if the database is Responsa's own."""
        ...

    def bounded(self, sql: str) -> str:
        """The query so that the database refuses a very long row, unless its driver does, because a driver has a whole row in memory."""
        ...

    def problem(self, error: BaseException | None) -> DatabaseProblem:
        """What an error of the driver means. Texts of errors are shown only if they cannot contain data."""
        ...

    def stop(self, raw: Any, engine: sqlalchemy.Engine) -> None:
        """Stop the statement that runs on a connection of the driver, from another thread. engine: for a second connection. Raises errors of the driver."""
        ...

    def drop(self, raw: Any, result: sqlalchemy.CursorResult[Any] | None) -> None:
        """Forget the rest of the result, if there is one, before the connection of the driver is closed."""
        ...


class _OrText(Loader):
    """Loads a value as text if Python cannot represent it, such as the time `infinity`, so that it is a matter of one row."""

    base: ClassVar[type[Loader]]

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._loader = self.base(oid, context)

    def load(self, data: Buffer) -> object:
        """See `Loader.load`."""
        try:
            return self._loader.load(data)
        except psycopg.DataError:
            return bytes(data).decode()


_OR_TEXT: Final[Mapping[str, type[Loader]]] = {
    name: type("_OrText", (_OrText,), {"base": base})
    for name, base in {
        "date": DateLoader,
        "interval": IntervalLoader,
        "time": TimeLoader,
        "timestamp": TimestampLoader,
        "timestamptz": TimestamptzLoader,
        "timetz": TimetzLoader,
    }.items()
}


class _Text(Loader):
    """Loads a text in any encoding, so that broken UTF-8 is a matter of one row."""

    def load(self, data: Buffer) -> object:
        """See `Loader.load`."""
        return _decoded(bytes(data))


class _Postgres:
    """PostgreSQL, by psycopg."""

    # Not even the privileges of roles that the login may take: all that it could do in another session counts.
    _MAY_WRITE: Final = """
        WITH roles AS (SELECT r.* FROM pg_roles AS r WHERE pg_has_role(current_user, r.oid, 'MEMBER'))
        SELECT concat_ws(', ', (SELECT 'is a superuser, or may create roles or databases, replicate or pass by row security' FROM roles
                WHERE rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls LIMIT 1),
            (SELECT 'is a member of ' || min(rolname::text) FROM roles
                WHERE rolname IN ('pg_write_all_data', 'pg_write_server_files', 'pg_read_server_files', 'pg_execute_server_program', 'pg_signal_backend') HAVING count(*) > 0),
            (SELECT 'may change the table ' || min(c.oid::regclass::text) FROM pg_class AS c, roles AS r
                WHERE c.relkind IN ('r', 'p', 'v', 'f', 'm') AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
                    AND (has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE')) HAVING count(*) > 0),
            (SELECT 'may create in the schema ' || min(n.nspname::text) FROM pg_namespace AS n, roles AS r
                WHERE n.nspname !~ '^pg_' AND has_schema_privilege(r.oid, n.oid, 'CREATE') HAVING count(*) > 0),
            (SELECT 'may create schemas' FROM roles AS r WHERE has_database_privilege(r.oid, current_database(), 'CREATE') LIMIT 1))
    """

    def engine(self, declared: DatabaseConnection, password: str) -> sqlalchemy.Engine:
        """See `Driver.engine`."""
        from sqlalchemy import event

        milliseconds = max(1, int(declared.seconds * 1000))
        tls = {
            DatabaseTls.VERIFY: {"sslmode": "verify-full", "sslrootcert": _authorities()},
            DatabaseTls.REQUIRE: {"sslmode": "require"},
            DatabaseTls.OFF: {"sslmode": "disable"},
        }[declared.tls]
        given: dict[str, Any] = {
            "host": declared.host,
            "port": declared.port or 5432,
            "dbname": declared.database,
            "user": declared.user,
            "password": password,
            "connect_timeout": _CONNECT_SECONDS,
            "tcp_user_timeout": milliseconds + 5000,
            # A server that vanishes while it is waited for is noticed within a minute.
            "keepalives_idle": 20,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "application_name": "responsa-source",
            # Without these, libpq would look for passwords, keys and services in the files of the server's user.
            "passfile": os.devnull,
            "sslcertmode": "disable",
            "gssencmode": "disable",
            # The time limit of a read is enforced from outside, because a query may change this one while its result is read.
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout=5000 -c default_transaction_read_only=on -c default_transaction_isolation=repeatable\\ read",
            **tls,
        }
        engine = _engine("postgresql+psycopg://", connect_args=given)
        # First of all: SQLAlchemy asks for the server's version when it has connected.
        event.listen(engine, "connect", self._set_loaders, insert=True)
        return engine

    def prepare(self, connection: sqlalchemy.Connection, declared: DatabaseConnection) -> None:
        """See `Driver.prepare`."""
        own = connection.exec_driver_sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'responsa'")
        if own.scalar_one():
            raise _own()
        if may := str(connection.exec_driver_sql(self._MAY_WRITE).scalar_one()):
            raise _may_write(f"The user {declared.user} {may}")

    @staticmethod
    def _set_loaders(raw: psycopg.Connection, _: object) -> None:
        """Let a value that Python cannot represent be a matter of one row."""
        for name, loader in _OR_TEXT.items():
            raw.adapters.register_loader(name, loader)
        set_json_loads(_json, raw)
        # psycopg returns the texts of a database without an encoding as bytes.
        if raw.info.parameter_status("server_encoding") == "SQL_ASCII":
            for name in ("text", "varchar", "bpchar", "name"):
                raw.adapters.register_loader(name, _Text)

    def bounded(self, sql: str) -> str:
        """See `Driver.bounded`. A function with an error code that hardly any query gives, because only functions of a language can raise an error of one's choice."""
        short = f"width_bucket(0, 0, 1, sign({ROW_BYTES} - octet_length(bounded::text))::int) IS NOT NULL"
        return f"SELECT bounded.* FROM (\n{sql}\n) AS bounded WHERE {short}"  # noqa: S608 - the query is SQL of an administrator

    def problem(self, error: BaseException | None) -> DatabaseProblem:
        """See `Driver.problem`."""
        if isinstance(error, psycopg.Error) and error.sqlstate:
            if error.sqlstate == _TOO_LONG:
                return long_row()
            if isinstance(error, psycopg.errors.TooManyColumns):
                return _many_columns()
            match error.sqlstate[:2]:
                case "28":
                    return _login()
                case "08" | "3D":
                    return _unreachable()
                case "42":
                    return _query(f"{error.diag.message_primary or ''}")
                case _:
                    pass
            if isinstance(error, psycopg.errors.QueryCanceled):
                return timed_out()
            # It shuts down, it has ended an idle transaction, or it is a standby that could not keep the rows any longer.
            if error.sqlstate.startswith(("57P", "40")) or error.sqlstate in ("25P03", "25P04"):
                return DatabaseProblem(
                    DatabaseFault.UNREACHABLE, "The database interrupted the query, or ended the connection."
                )
            return _query(f"error {error.sqlstate}")
        if isinstance(error, psycopg.DataError):
            return unreadable_value()
        # libpq gives a text alone when it cannot connect.
        if "certificate" in str(error):
            return _certificate()
        if "authentication failed" in str(error) or "no pg_hba.conf entry" in str(error):
            return _login()
        return _unreachable()

    def stop(self, raw: Any, engine: sqlalchemy.Engine) -> None:
        """See `Driver.stop`."""
        raw.cancel_safe(timeout=_CONNECT_SECONDS)

    def drop(self, raw: Any, result: sqlalchemy.CursorResult[Any] | None) -> None:
        """See `Driver.drop`. The cursor is the server's."""


class _MySql:
    """MySQL and MariaDB, by PyMySQL, which reads no files unless asked to, and whose LOAD DATA LOCAL is off."""

    _HARMLESS: Final = frozenset({"USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES"})
    _GRANT: Final = re.compile(r"GRANT (?P<what>.*?) ON (?P<where>.*?) TO (?P<whom>\S+)", re.DOTALL)
    # The server's own limit is for a process that was lost. It must be longer, because it counts the time in which the rows that were read are worked on, too.
    _BACKSTOP: Final = 10
    # The name of the user that the server shows in a refusal contains the address of this machine.
    _USER: Final = re.compile(r" (?:to|for) user '.*?'@'.*?'")
    # The server refuses connections, is shutting down, or has ended this connection.
    _AWAY: Final = frozenset(
        {1040, 1049, 1053, 1129, 1130, 1152, 1158, 1159, 1160, 1161, 1203, 1226, 1927, 3169, 4031}
    )
    # The numbers of errors of the driver; the others are the server's.
    _OF_DRIVER: Final = range(2000, 3000)

    def engine(self, declared: DatabaseConnection, password: str) -> sqlalchemy.Engine:
        """See `Driver.engine`."""
        given: dict[str, Any] = {
            "host": declared.host,
            "port": declared.port or 3306,
            "user": declared.user,
            "password": password,
            "database": declared.database,
            "charset": "utf8mb4",
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": int(declared.seconds) + 2,
            "write_timeout": _CONNECT_SECONDS,
            "local_infile": False,
        }
        if declared.tls is DatabaseTls.OFF:
            given["ssl_disabled"] = True
        else:
            context = ssl.create_default_context()
            if declared.tls is DatabaseTls.REQUIRE:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            given["ssl"] = context
        return _engine("mysql+pymysql://", connect_args=given)

    def prepare(self, connection: sqlalchemy.Connection, declared: DatabaseConnection) -> None:
        """See `Driver.prepare`."""
        version = str(connection.exec_driver_sql("SELECT version()").scalar_one())
        limit = (
            f"max_statement_time = {declared.seconds * self._BACKSTOP:g}"
            if "mariadb" in version.lower()
            else f"max_execution_time = {max(1, int(declared.seconds * self._BACKSTOP * 1000))}"
        )
        connection.exec_driver_sql(f"SET SESSION {limit}")
        for row in connection.exec_driver_sql("SHOW GRANTS").fetchall():
            self._check(str(row[0]), declared.user)
        connection.exec_driver_sql("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # The transaction of the statements above began before it could be read-only.
        connection.commit()
        raw: Any = connection.connection.driver_connection
        # PyMySQL reads a row as a whole, and no setting limits its length. Before each part of a row it reads the length of that part.
        raw._read_bytes = partial(self._read_some, raw, raw._read_bytes)  # noqa: SLF001 - it has no public way to do so

    def _read_some(self, raw: Any, read: Callable[[int], bytes], count: int) -> bytes:
        """Read `count` bytes of a row. The first part of a row of `ROW_BYTES` or more has the greatest length that a part can have."""
        if count >= ROW_BYTES - 1:
            self.drop(raw, None)
            raw._force_close()  # noqa: SLF001 - nothing else closes a connection within a row
            raise long_row()
        return read(count)

    def _check(self, grant: str, user: str) -> None:
        found = self._GRANT.match(grant)
        if found is None:
            # A role, or the right to act for another user.
            raise _may_write(f"The user {user} has a role or acts for another user")
        what = re.sub(r"\([^)]*\)", "", found["what"])
        given = {one.strip().upper() for one in what.split(",")}
        if more := sorted(given - self._HARMLESS):
            through = " through PUBLIC" if found["whom"].upper() == "PUBLIC" else ""
            raise _may_write(f"The user {user} has the privilege {more[0]} on {found['where']}{through}")
        if "WITH GRANT OPTION" in grant:
            raise _may_write(f"The user {user} may give privileges to others")

    def bounded(self, sql: str) -> str:
        """See `Driver.bounded`. `prepare` has set the limit."""
        return sql

    def problem(self, error: BaseException | None) -> DatabaseProblem:
        """See `Driver.problem`."""
        arguments: tuple[object, ...] = getattr(error, "args", ())
        match arguments[0] if arguments else None:
            case 1044 | 1045 | 1251 | 1698 | 1820 | 1862 | 3118 | 4151:
                return _login()
            case int(number) if number in self._AWAY:
                return _unreachable()
            case 1969 | 3024 | 1317:
                return timed_out()
            case 1153:
                return long_row()
            case 1792:
                return _query("it would change data")
            case 1046 | 1054 | 1064 | 1142 | 1143 | 1146 | 1305 | 1370:
                return _query(self._USER.sub("", str(arguments[1])) if len(arguments) > 1 else "")
            case 2003 if "certificate" in str(error):
                return _certificate()
            case 2013 if "timed out" in str(error):
                return timed_out()
            case int(number) if number not in self._OF_DRIVER:
                return _query(f"error {number}")
            case _:
                return _unreachable()

    def stop(self, raw: Any, engine: sqlalchemy.Engine) -> None:
        """See `Driver.stop`."""
        with engine.connect() as second:
            second.exec_driver_sql(f"KILL QUERY {int(raw.thread_id())}")

    def drop(self, raw: Any, result: sqlalchemy.CursorResult[Any] | None) -> None:
        """See `Driver.drop`. PyMySQL would read the result to its end, even after the connection was closed."""
        left = getattr(raw, "_result", None)
        if left is not None:
            left.unbuffered_active = False


class _Sqlite:
    """SQLite files, opened read-only. No other file can be attached, and no extension can be loaded."""

    _DENIED: Final = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA})
    _AWAY: Final = frozenset(
        {
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_LOCKED,
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_PERM,
        }
    )
    # What it says about the text of a query. Errors of functions can quote a value.
    _ABOUT_QUERY: Final = re.compile(
        r"no such |ambiguous column|near \"|not authorized|wrong number of arguments|unrecognized token|incomplete input|misuse of|malformed JSON$|integer overflow$|unable to use function"
    )

    def engine(self, declared: DatabaseConnection, password: str) -> sqlalchemy.Engine:
        """See `Driver.engine`."""

        def opened() -> sqlite3.Connection:
            made = sqlite3.connect(
                f"file:{quote(declared.file)}?mode=ro",
                uri=True,
                timeout=_CONNECT_SECONDS,
                check_same_thread=False,
            )
            made.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, ROW_BYTES)
            # A row with broken UTF-8 is set aside; it does not end the reading.
            made.text_factory = _decoded
            return made

        return _engine("sqlite://", creator=opened)

    def prepare(self, connection: sqlalchemy.Connection, declared: DatabaseConnection) -> None:
        """See `Driver.prepare`. The file is opened read-only, so there is no login to check."""
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection), "the engine opens nothing else"
        # SQLAlchemy defines REGEXP in Python, where one bad pattern stops the whole process.
        raw.create_function("regexp", 2, None)
        # Python begins a transaction for changes alone.
        raw.execute("BEGIN")
        raw.set_authorizer(self._allowed)

    def bounded(self, sql: str) -> str:
        """See `Driver.bounded`. The limit was set with the connection."""
        return sql

    def problem(self, error: BaseException | None) -> DatabaseProblem:
        """See `Driver.problem`."""
        text = str(error)
        # The lowest byte is the error, the others say more about it. The module's own errors have no number.
        match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
            case sqlite3.SQLITE_INTERRUPT:
                return timed_out()
            case sqlite3.SQLITE_TOOBIG:
                return long_row()
            case int(code) if code in self._AWAY:
                return DatabaseProblem(
                    DatabaseFault.UNREACHABLE, f"The database file cannot be read: {text[:200]}."
                )
            case _:
                pass
        if "too many columns" in text or "too many terms" in text:
            return _many_columns()
        return _query(
            text
            if self._ABOUT_QUERY.match(text)
            else f"error {getattr(error, 'sqlite_errorname', type(error).__name__)}"
        )

    def stop(self, raw: Any, engine: sqlalchemy.Engine) -> None:
        """See `Driver.stop`."""
        raw.interrupt()

    def drop(self, raw: Any, result: sqlalchemy.CursorResult[Any] | None) -> None:
        """See `Driver.drop`. SQLite makes rows when they are fetched, and cannot close a cursor after its connection."""
        if result is not None:
            result.close()

    def _allowed(self, action: int, *about: str | None) -> int:
        return sqlite3.SQLITE_DENY if action in self._DENIED else sqlite3.SQLITE_OK


def _engine(url: str, **arguments: Any) -> sqlalchemy.Engine:
    import sqlalchemy

    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, hide_parameters=True, **arguments)


def _authorities() -> str:
    """The file with the system's authorities. The OpenSSL in psycopg's wheels looks for them where no system has them."""
    chosen = ssl.get_default_verify_paths().cafile  # SSL_CERT_FILE, if it is set
    return next((one for one in (chosen, *_AUTHORITIES) if one and Path(one).is_file()), "system")


def _json(data: str | bytes) -> object:
    """JSON, or its text if it is nested too deeply or not valid UTF-8."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data if isinstance(data, str) else _decoded(data)


def _decoded(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _login() -> DatabaseProblem:
    return DatabaseProblem(DatabaseFault.LOGIN, "The database refuses the user or the password.")


def _unreachable() -> DatabaseProblem:
    return DatabaseProblem(
        DatabaseFault.UNREACHABLE, "The database cannot be reached, or the connection broke."
    )


def _certificate() -> DatabaseProblem:
    return DatabaseProblem(
        DatabaseFault.UNREACHABLE,
        "The database's certificate is not valid for its name, or not signed by an authority that this machine knows.",
    )


def timed_out() -> DatabaseProblem:
    """The problem of a query that takes too long."""
    return DatabaseProblem(
        DatabaseFault.TIMEOUT,
        "The database did not answer within the time limit of the connection; make the query faster, or raise `seconds` in the declaration.",
    )


def unreadable_value() -> DatabaseProblem:
    """The problem of a value that the driver cannot represent, such as a text in another encoding than the database says."""
    return DatabaseProblem(
        DatabaseFault.QUERY,
        "The result of the query has a value that cannot be read; cast the column, for example to text, or leave such rows out.",
    )


def long_row() -> DatabaseProblem:
    """The problem of a result with a row of more than `ROW_BYTES`."""
    return DatabaseProblem(
        DatabaseFault.TOO_LARGE,
        f"A row of the result has more than {ROW_BYTES >> 20} MiB; leave such rows out, or shorten their columns.",
    )


def _many_columns() -> DatabaseProblem:
    return DatabaseProblem(
        DatabaseFault.TOO_LARGE,
        "The query has more columns than the database can return; name the columns that are needed.",
    )


def _query(why: str) -> DatabaseProblem:
    return DatabaseProblem(DatabaseFault.QUERY, f"The database refuses the query: {why[:500].rstrip('.')}.")


def _own() -> DatabaseProblem:
    return DatabaseProblem(
        DatabaseFault.OWN_DATABASE, "This is a database of Responsa itself, which sources do not read."
    )


def _may_write(why: str) -> DatabaseProblem:
    return DatabaseProblem(
        DatabaseFault.MAY_WRITE,
        f"{why}, and sources use only logins that cannot write; grant it SELECT alone.",
    )


KINDS: Final[Mapping[DatabaseKind, Driver]] = {
    DatabaseKind.POSTGRESQL: _Postgres(),
    DatabaseKind.MYSQL: _MySql(),
    DatabaseKind.SQLITE: _Sqlite(),
}
