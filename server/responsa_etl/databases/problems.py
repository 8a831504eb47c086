"""Why a database cannot be read, in words for the administrator who wrote the query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from responsa_etl.domain import DatabaseConnection, DatabaseFault, DatabaseProblem

ROW_BYTES: Final = 16 << 20
"""The length from which a row is refused."""


def login() -> DatabaseProblem:
    """The problem of a refused login."""
    return DatabaseProblem(DatabaseFault.LOGIN, "The database refuses the user or the password.")


def unreachable() -> DatabaseProblem:
    """The problem of a database that does not answer."""
    return DatabaseProblem(
        DatabaseFault.UNREACHABLE, "The database cannot be reached, or the connection was lost."
    )


def certificate() -> DatabaseProblem:
    """The problem of a certificate that cannot be trusted."""
    return DatabaseProblem(
        DatabaseFault.UNREACHABLE,
        "The database's certificate is not valid for its name, or not signed by an authority that this machine knows.",
    )


def timeout_problem() -> DatabaseProblem:
    """The problem of a query that takes too long."""
    return DatabaseProblem(
        DatabaseFault.TIMEOUT,
        (
            "The database did not answer within the time limit of the connection; make the query "
            "faster, or raise `seconds` in the declaration."
        ),
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


def many_columns() -> DatabaseProblem:
    """The problem of more columns than a database can return."""
    return DatabaseProblem(
        DatabaseFault.TOO_LARGE,
        "The query has more columns than the database can return; name the columns that are needed.",
    )


def refusal(why: str) -> DatabaseProblem:
    """The problem of a query that the database refuses. why: contains no data."""
    return DatabaseProblem(DatabaseFault.QUERY, f"The database refuses the query: {why[:500].rstrip('.')}.")


def own_database() -> DatabaseProblem:
    """The problem of a connection to Responsa's own database."""
    return DatabaseProblem(
        DatabaseFault.OWN_DATABASE, "This is a database of Responsa itself, which sources do not read."
    )


def may_write(why: str) -> DatabaseProblem:
    """The problem of a login that could change something."""
    return DatabaseProblem(
        DatabaseFault.MAY_WRITE,
        f"{why}, and sources use only logins that cannot write; grant it only SELECT.",
    )


def acts(name: str, remedy: str) -> DatabaseProblem:
    """The problem of a query that calls a function with an effect. remedy: a sentence."""
    return DatabaseProblem(
        DatabaseFault.QUERY,
        f"The query has the name “{name[:100]}”, of a function that may do more than read. {remedy}",
    )


def crash_problem() -> DatabaseProblem:
    """The problem of an SQLite file whose process ended in the midst of a query."""
    return DatabaseProblem(
        DatabaseFault.CRASHED,
        (
            "The process that reads the SQLite file exited during the query, and nothing "
            "else was affected. Simplify the query, and check the file with PRAGMA integrity_check."
        ),
    )


def check_columns(columns: Sequence[str], declared: DatabaseConnection) -> None:
    """Raise DatabaseProblem unless a result has columns, and not too many."""
    if not columns:
        raise DatabaseProblem(DatabaseFault.QUERY, "The query returns no rows; write one SELECT.")
    if len(columns) > declared.columns:
        message = (
            f"The query returns {len(columns)} columns, and the connection allows {declared.columns}; "
            "name the columns that are needed."
        )
        raise DatabaseProblem(DatabaseFault.TOO_LARGE, message)
