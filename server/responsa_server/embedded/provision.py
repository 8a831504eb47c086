"""The steps on a fresh cluster that need a superuser: roles, database, extension. Repeatable."""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString

import psycopg
from psycopg import sql

from responsa_server.embedded.errors import EmbeddedError
from responsa_server.embedded.passwords import Passwords

DATABASE = "responsa"
SUPERUSER = "postgres"
OLDEST = 180000

GRANTS: tuple[LiteralString, ...] = (
    # The owner creates SECURITY DEFINER functions and gives them to the search role, which it must belong to for that.
    "GRANT responsa_search TO responsa_owner WITH INHERIT TRUE, SET TRUE",
    # A plan cached for one tenant is wrong for the next.
    "ALTER ROLE responsa_app SET plan_cache_mode = 'force_custom_plan'",
    "REVOKE ALL ON DATABASE responsa FROM PUBLIC",
    "GRANT CONNECT ON DATABASE responsa TO responsa_app, responsa_log",
)


def provision(dsn: Callable[[str], str], passwords: Passwords) -> None:
    """Makes roles (passwords from `passwords`), database `responsa` and extension `vector`.

    `dsn` gives the superuser's DSN for a database.

    Raises:
        EmbeddedError: the server is older than 18, or refuses.
    """
    try:
        with psycopg.connect(dsn("postgres"), autocommit=True, connect_timeout=5) as connection:
            if connection.info.server_version < OLDEST:
                raise EmbeddedError(
                    f"PostgreSQL {connection.info.server_version // 10000} is too old, 18 is needed",
                    "install Responsa's packages again (make clean, then make up)",
                )
            _roles(connection, passwords)
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if known is None:
                connection.execute("CREATE DATABASE responsa OWNER responsa_owner")
            for statement in GRANTS:
                connection.execute(statement)
        with psycopg.connect(dsn(DATABASE), autocommit=True, connect_timeout=5) as connection:
            connection.execute("SET client_min_messages = warning")
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.Error as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise EmbeddedError(
            f"The database could not be prepared ({first})", "look into logs/postgres.log in the data folder"
        ) from error


def _roles(connection: psycopg.Connection, passwords: Passwords) -> None:
    rows = connection.execute("SELECT rolname FROM pg_roles").fetchall()
    known = {str(row[0]) for row in rows}
    logins = {
        "responsa_owner": passwords.postgres_owner,
        "responsa_app": passwords.postgres_app,
        "responsa_log": passwords.postgres_log,
    }
    for role, password in logins.items():
        verb = sql.SQL("ALTER") if role in known else sql.SQL("CREATE")
        connection.execute(
            sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEROLE NOBYPASSRLS PASSWORD {}").format(
                verb, sql.Identifier(role), sql.Literal(password)
            )
        )
    if "responsa_search" not in known:
        connection.execute("CREATE ROLE responsa_search NOLOGIN NOSUPERUSER NOCREATEROLE NOBYPASSRLS")
