"""The kinds of databases with a server: how each is opened, how its session is made harmless, and what its errors mean."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.datetime import (
    DateLoader,
    IntervalLoader,
    TimeLoader,
    TimestampLoader,
    TimestamptzLoader,
    TimetzLoader,
)
from psycopg.types.multirange import MultirangeInfo
from psycopg.types.range import RangeInfo

from responsa_etl.databases.problems import (
    ROW_BYTES,
    acts,
    certificate,
    login,
    long_row,
    many_columns,
    may_write,
    own_database,
    refusal,
    timeout_problem,
    unreachable,
    unreadable_value,
)
from responsa_etl.domain import (
    MAX_TEXT_BYTES,
    DatabaseConnection,
    DatabaseFault,
    DatabaseKind,
    DatabaseProblem,
    DatabaseTls,
)
from responsa_server.outbound.authorities import authorities_file, create_trust

if TYPE_CHECKING:
    # At run time, SQLAlchemy is imported with the first connection: it would take a tenth of a second of each start.
    import sqlalchemy

_CONNECT_SECONDS: Final = 5
_LOST_MILLISECONDS: Final = 3600 * 1000
_TOO_LONG: Final = psycopg.errors.InvalidArgumentForWidthBucketFunction.sqlstate


class Driver(Protocol):
    """What differs between the kinds of databases."""

    def engine(self, declared: DatabaseConnection, password: str) -> sqlalchemy.Engine:
        """An engine without a pool. Connects to nothing."""
        ...

    def prepare(self, connection: sqlalchemy.Connection, declared: DatabaseConnection) -> None:
        """Make the session read-only and bound its statements. Raises DatabaseProblem if the login may write, or if the
        database is Responsa's own."""
        ...

    def check(self, connection: sqlalchemy.Connection, sql: str) -> None:
        """Raise DatabaseProblem if the query may call a function that acts. What the text does not show, such as the
        inside of a view, is left to the rights of the login."""
        ...

    def rows(
        self, connection: sqlalchemy.Connection, sql: str, values: Mapping[str, str]
    ) -> tuple[Sequence[str], Generator[Sequence[object]]]:
        """Run a query: the columns of its result, and its rows, of which one is in memory at a time. The database or
        the driver refuses a row of more than `ROW_BYTES`. Raises errors of SQLAlchemy and of the driver."""
        ...

    def problem(self, error: BaseException | None) -> DatabaseProblem:
        """What an error of the driver means. Texts of errors are shown only if they cannot contain data."""
        ...

    def stop(self, raw: Any, engine: sqlalchemy.Engine) -> None:
        """Stop the statement that runs on a connection of the driver, from another thread. engine: for a second
        connection. Raises errors of the driver."""
        ...

    def drop(self, raw: Any) -> None:
        """Forget the rest of the result, if there is one, before the connection of the driver is closed."""
        ...


class _OrText(Loader):
    """Loads a value as text if Python cannot represent it, such as the time `infinity`, so that it is a matter of one row."""

    base: ClassVar[type[Loader]]

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._loader = self.base(oid, context)

    def load(self, data: Buffer) -> object:
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


class _TextLoader(Loader):
    """Loads a value as its text, in any encoding, so that broken UTF-8 is a matter of one row."""

    def load(self, data: Buffer) -> object:
        return bytes(data).decode(errors="surrogateescape")


class _Array(Loader):
    """Loads an array as JSON. As values it takes up to 20 times its text, so only one is in memory as values at a time,
    and none that is too long for a column."""

    base: ClassVar[type[Loader]]

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._loader = self.base(oid, context)

    def load(self, data: Buffer) -> object:
        if len(data) > MAX_TEXT_BYTES:
            return bytes(data).decode(errors="surrogateescape")
        return json.dumps(self._loader.load(data), default=str)


class _Postgres:
    # Not even the privileges of roles that the login may take: all that it could do in another session counts.
    _MAY_WRITE: Final = """
        WITH roles AS (SELECT r.* FROM pg_roles AS r WHERE pg_has_role(current_user, r.oid, 'MEMBER'))
        SELECT concat_ws(', ', (SELECT 'is a superuser, or may create roles or databases, replicate or bypass row security' FROM roles
                WHERE rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls LIMIT 1),
            (SELECT 'is a member of ' || min(rolname::text) FROM roles
                WHERE rolname IN ('pg_write_all_data', 'pg_write_server_files', 'pg_read_server_files',
                    'pg_execute_server_program', 'pg_signal_backend') HAVING count(*) > 0),
            (SELECT 'may change the table ' || min(c.oid::regclass::text) FROM pg_class AS c, roles AS r
                WHERE c.relkind IN ('r', 'p', 'v', 'f', 'm')
                    AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
                    AND (has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                        OR has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE')) HAVING count(*) > 0),
            (SELECT 'may create in the schema ' || min(n.nspname::text) FROM pg_namespace AS n, roles AS r
                WHERE n.nspname !~ '^pg_' AND has_schema_privilege(r.oid, n.oid, 'CREATE') HAVING count(*) > 0),
            (SELECT 'may create schemas' FROM roles AS r WHERE has_database_privilege(r.oid, current_database(), 'CREATE') LIMIT 1))
    """

    # A function that has an effect must be declared volatile. The named ones run a text as a query. Those of triggers,
    # and those with an internal argument, cannot be called.
    # `called` are the words before a parenthesis; a function of one row can also be written like a column, and a name
    # with other characters than those of words stands in quotes.
    _ACTING: Final = r"""
        SELECT min(p.proname::text) FROM pg_proc AS p
        WHERE (p.provolatile = 'v' AND NOT (p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ %(harmless)s)
                OR p.proname ~ '^(crosstab|connectby|xpath_table)')
            AND has_function_privilege(p.oid, 'EXECUTE')
            AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND 'internal'::regtype <> ALL (p.proargtypes::oid[])
            AND (lower(p.proname::text) = ANY (%(called)s)
                OR lower(p.proname::text) = ANY (%(words)s) AND p.pronargs = 1
                    AND (SELECT t.typtype IN ('c', 'p') FROM pg_type AS t WHERE t.oid = p.proargtypes[0])
                OR p.proname !~ '^\w+$' AND strpos(%(text)s, replace(lower(p.proname::text), '"', '""')) > 0)
    """
    _HARMLESS: Final = (
        r"^(array_(sample|shuffle)|clock_timestamp|gen_random_uuid|pg_sleep(_for|_until)?|pg_\w+_size"
        r"|random(_normal)?|timeofday|uuidv[47])$"
    )
    _WORD: Final = re.compile(r'([^\W\d][\w$]*)(\s*+(?:"\s*+)?\()?')
    _LONGEST_NAME: Final = 63

    def engine(self, declared: DatabaseConnection, password: str) -> sqlalchemy.Engine:
        from sqlalchemy import event

        milliseconds = max(1, int(declared.seconds * 1000))
        tls = {
            DatabaseTls.VERIFY: {"sslmode": "verify-full", "sslrootcert": authorities_file() or "system"},
            DatabaseTls.REQUIRE: {"sslmode": "require"},
            DatabaseTls.OFF: {"sslmode": "disable"},
        }[declared.tls]
        arguments: dict[str, Any] = {
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
            # The time limit of a read is enforced from outside, because a query may change this one while its result is
            # read. This one is for a process that was lost; it counts the time in which the rows are worked on, too.
            "options": (
                f"-c statement_timeout={max(milliseconds, _LOST_MILLISECONDS)} -c lock_timeout=5000 -c "
                "default_transaction_read_only=on -c default_transaction_isolation=repeatable\\ read"
            ),
            **tls,
        }
        engine = _engine("postgresql+psycopg://", connect_args=arguments)
        # First of all: SQLAlchemy asks for the server's version when it has connected.
        event.listen(engine, "connect", self._set_loaders, insert=True)
        return engine

    def prepare(self, connection: sqlalchemy.Connection, declared: DatabaseConnection) -> None:
        own = connection.exec_driver_sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'responsa'")
        if own.scalar_one():
            raise own_database()
        if may := str(connection.exec_driver_sql(self._MAY_WRITE).scalar_one()):
            raise may_write(f"The user {declared.user} {may}")

    @staticmethod
    def _set_loaders(raw: psycopg.Connection, _: object) -> None:
        """Let a value that Python cannot represent be a matter of one row, and take nested values as texts, which need less memory."""
        for name, loader in _OR_TEXT.items():
            raw.adapters.register_loader(name, loader)
        for kind in raw.adapters.types:
            if isinstance(kind, RangeInfo | MultirangeInfo) or kind.name in ("json", "jsonb"):
                raw.adapters.register_loader(kind.oid, _TextLoader)
            if base := raw.adapters.get_loader(kind.array_oid, Format.TEXT):
                raw.adapters.register_loader(kind.array_oid, type("_Array", (_Array,), {"base": base}))
        # psycopg returns the texts of a database without an encoding as bytes.
        if raw.info.parameter_status("server_encoding") == "SQL_ASCII":
            for name in ("text", "varchar", "bpchar", "name"):
                raw.adapters.register_loader(name, _TextLoader)

    def check(self, connection: sqlalchemy.Connection, sql: str) -> None:
        """See `Driver.check`. Texts and comments count too, so that no way of writing hides a name."""
        lower = sql.lower()
        if 'u&"' in lower:
            raise acts('U&"', "Write names without escapes.")
        words = [
            (name.encode()[: self._LONGEST_NAME].decode(errors="ignore"), bool(call))
            for name, call in self._WORD.findall(lower)
        ]
        # A comment may stand between a name and its parenthesis.
        commented = "--" in lower or "/*" in lower
        values = {
            "words": [name for name, _ in words],
            "called": [name for name, call in words if call or commented],
            "text": lower,
            "harmless": self._HARMLESS,
        }
        if name := connection.exec_driver_sql(self._ACTING, values).scalar_one():
            remedy = "Leave it out. If it is a function of your own that only reads, declare it STABLE."
            raise acts(str(name), remedy)

    def rows(
        self, connection: sqlalchemy.Connection, sql: str, values: Mapping[str, str]
    ) -> tuple[Sequence[str], Generator[Sequence[object]]]:
        """See `Driver.rows`. A cursor of the server would have a piece of rows in memory, however long they are."""
        from sqlalchemy import text

        # SQLAlchemy does not know the driver's type.
        raw: psycopg.Connection = connection.connection.driver_connection  # pyright: ignore[reportAssignmentType]
        query = str(text(self._limit_rows(sql)).compile(dialect=connection.dialect)).encode()
        cursor = raw.cursor()
        rows = cursor.stream(query, values)
        first = next(rows, None)
        if first is None:
            cursor.execute(b"SELECT * FROM (%b) AS empty LIMIT 0".replace(b"%b", query), values)

        def each() -> Generator[Sequence[object]]:
            if first is not None:
                yield first
                yield from rows

        return [column.name for column in cursor.description or ()], each()

    @staticmethod
    def _limit_rows(sql: str) -> str:
        """The query so that the database refuses a long row. A function with an error code that hardly any query gives,
        because only functions of a language can raise an error of one's choice."""
        short = f"width_bucket(0, 0, 1, sign({ROW_BYTES} - octet_length(bounded::text))::int) IS NOT NULL"
        return f"SELECT bounded.* FROM (\n{sql}\n) AS bounded WHERE {short}"  # noqa: S608 - the query is SQL of an administrator

    def problem(self, error: BaseException | None) -> DatabaseProblem:
        if isinstance(error, psycopg.Error) and error.sqlstate:
            if error.sqlstate == _TOO_LONG:
                return long_row()
            if isinstance(error, psycopg.errors.TooManyColumns):
                return many_columns()
            match error.sqlstate[:2]:
                case "28":
                    return login()
                case "08" | "3D":
                    return unreachable()
                case "42":
                    return refusal(f"{error.diag.message_primary or ''}")
                case _:
                    pass
            if isinstance(error, psycopg.errors.QueryCanceled):
                return timeout_problem()
            # It shuts down, it has ended an idle transaction, or it is a standby that could not keep the rows any longer.
            if error.sqlstate.startswith(("57P", "40")) or error.sqlstate in ("25P03", "25P04"):
                return DatabaseProblem(
                    DatabaseFault.UNREACHABLE, "The database interrupted the query, or ended the connection."
                )
            if isinstance(error, psycopg.errors.LockNotAvailable):
                return DatabaseProblem(
                    DatabaseFault.UNREACHABLE,
                    "Another session of the database has kept a table of the query locked for more than five seconds.",
                )
            return refusal(f"error {error.sqlstate}")
        if isinstance(error, psycopg.DataError):
            return unreadable_value()
        # libpq gives a text alone when it cannot connect.
        if "certificate" in str(error):
            return certificate()
        if "authentication failed" in str(error) or "no pg_hba.conf entry" in str(error):
            return login()
        return unreachable()

    def stop(self, raw: Any, engine: sqlalchemy.Engine) -> None:
        raw.cancel_safe(timeout=_CONNECT_SECONDS)

    def drop(self, raw: Any) -> None:
        """See `Driver.drop`. psycopg forgets it."""


class _MySql:
    """MySQL and MariaDB, by PyMySQL, which reads no files unless asked to, and whose LOAD DATA LOCAL is off."""

    _HARMLESS: Final = frozenset({"USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES"})
    _GRANT: Final = re.compile(r"GRANT (?>(?P<what>.*?) ON )(?P<where>.*?) TO (?P<whom>\S+)", re.DOTALL)
    # The server's own limit is for a process that was lost. It must be longer, because it counts the time in which the
    # rows that were read are worked on, too.
    _BACKSTOP: Final = 10
    # The name of the user that the server shows in a refusal contains the address of this machine.
    _USER: Final = re.compile(r" (?:to|for) user '.{0,128}?'@'.{0,255}?'")
    # The server refuses connections, is shutting down, or has ended this connection.
    _AWAY: Final = frozenset(
        {1040, 1049, 1053, 1129, 1130, 1152, 1158, 1159, 1160, 1161, 1203, 1226, 1927, 3169, 4031}
    )
    # Functions of MySQL and MariaDB with an effect that a login with SELECT alone may call, with what may stand between
    # a name and its parenthesis; and clauses that write files.
    # MySQL shows no such login which functions of libraries it has, which anybody may call; the names are those of the known ones.
    _ACTING: Final = re.compile(
        r"\b(?P<name>load_file|get_lock|release_lock|release_all_locks|(?:master|source)_(?:pos|gtid)_wait"
        r"|wait_for_executed_gtid_set|wait_until_sql_thread_after_gtids"
        r"|nextval|setval|keyring_\w+|group_replication_\w+|asynchronous_connection_failover_\w+|service_\w+_locks"
        r"|version_tokens_\w+|sys_(?:exec|eval|get|set))"
        r"[`\"]?(?:\s|/\*.{0,256}?\*/|\*/|(?:--|\#)[^\n]{0,256}(?:\n|\Z))*+(?:\(|/\*|--|\#)|\b(?P<clause>outfile|dumpfile)\b",
        re.IGNORECASE | re.DOTALL,
    )
    # The numbers of errors of the driver; the others are the server's.
    _OF_DRIVER: Final = range(2000, 3000)

    def engine(self, declared: DatabaseConnection, password: str) -> sqlalchemy.Engine:
        arguments: dict[str, Any] = {
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
            arguments["ssl_disabled"] = True
        else:
            context = create_trust()
            if declared.tls is DatabaseTls.REQUIRE:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            arguments["ssl"] = context
        return _engine("mysql+pymysql://", connect_args=arguments)

    def prepare(self, connection: sqlalchemy.Connection, declared: DatabaseConnection) -> None:
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
            self.drop(raw)
            raw._force_close()  # noqa: SLF001 - nothing else closes a connection within a row
            raise long_row()
        return read(count)

    def _check(self, grant: str, user: str) -> None:
        match = self._GRANT.match(grant)
        if match is None:
            # A role, or the right to act for another user.
            raise may_write(f"The user {user} has a role or acts for another user")
        what = re.sub(r"\([^()]*\)", "", match["what"])
        privileges = {privilege.strip().upper() for privilege in what.split(",")}
        if more := sorted(privileges - self._HARMLESS):
            public = match["whom"].upper() == "PUBLIC"
            through = " through PUBLIC; mariadb-secure-installation takes those on test away" * public
            raise may_write(f"The user {user} has the privilege {more[0]} on {match['where']}{through}")
        if "WITH GRANT OPTION" in grant:
            raise may_write(f"The user {user} may give privileges to others")

    def check(self, connection: sqlalchemy.Connection, sql: str) -> None:
        if act := self._ACTING.search(sql):
            raise acts(act["name"] or act["clause"], "Leave it out of the query.")

    def rows(
        self, connection: sqlalchemy.Connection, sql: str, values: Mapping[str, str]
    ) -> tuple[Sequence[str], Generator[Sequence[object]]]:
        """See `Driver.rows`. `prepare` has set the limit of a row."""
        from sqlalchemy import text

        streamed = connection.execution_options(stream_results=True, max_row_buffer=1)
        result = streamed.execute(text(sql), dict(values))

        def each() -> Generator[Sequence[object]]:
            if result.returns_rows:
                yield from result

        return (list(result.keys()) if result.returns_rows else []), each()

    def problem(self, error: BaseException | None) -> DatabaseProblem:
        arguments: tuple[object, ...] = getattr(error, "args", ())
        match arguments[0] if arguments else None:
            case 1044 | 1045 | 1251 | 1698 | 1820 | 1862 | 3118 | 4151:
                return login()
            case int(number) if number in self._AWAY:
                return unreachable()
            case 1969 | 3024 | 1317:
                return timeout_problem()
            case 1153:
                return long_row()
            case 1792:
                return refusal("it would change data")
            case 1046 | 1054 | 1064 | 1142 | 1143 | 1146 | 1305 | 1370:
                return refusal(self._USER.sub("", str(arguments[1])) if len(arguments) > 1 else "")
            case 2003 if "certificate" in str(error):
                return certificate()
            case 2013 if "timed out" in str(error):
                return timeout_problem()
            case int(number) if number not in self._OF_DRIVER:
                return refusal(f"error {number}")
            case _:
                return unreachable()

    def stop(self, raw: Any, engine: sqlalchemy.Engine) -> None:
        with engine.connect() as second:
            second.exec_driver_sql(f"KILL QUERY {int(raw.thread_id())}")

    def drop(self, raw: Any) -> None:
        """See `Driver.drop`. PyMySQL would read the result to its end, even after the connection was closed."""
        left = getattr(raw, "_result", None)
        if left is not None:
            left.unbuffered_active = False


def _engine(url: str, **arguments: Any) -> sqlalchemy.Engine:
    import sqlalchemy

    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, hide_parameters=True, **arguments)


SERVERS: Final[Mapping[DatabaseKind, Driver]] = {
    DatabaseKind.POSTGRESQL: _Postgres(),
    DatabaseKind.MYSQL: _MySql(),
}
