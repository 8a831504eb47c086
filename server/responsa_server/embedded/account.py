"""The unprivileged account that PostgreSQL runs under when root starts Responsa."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from responsa_server.embedded.errors import EmbeddedError


@dataclass(frozen=True, slots=True)
class Account:
    """A row of the passwd table."""

    name: str
    uid: int
    gid: int


def unprivileged(preferred: str | None = None) -> Account:
    """`preferred` if it exists, else `responsa`, else `nobody`, else the first account that is not root.

    Other daemons may also run as `nobody`, and could then reach the database's files. On a shared machine, add the account `responsa`.

    Raises:
        EmbeddedError: the passwd table has no account but root.
    """
    for name in (preferred, "responsa", "nobody"):
        if name is None:
            continue
        try:
            row = pwd.getpwnam(name)
        except KeyError:
            continue
        if row.pw_uid != 0:
            return Account(row.pw_name, row.pw_uid, row.pw_gid)
    for row in pwd.getpwall():
        if row.pw_uid != 0:
            return Account(row.pw_name, row.pw_uid, row.pw_gid)
    raise EmbeddedError(
        "PostgreSQL refuses to run as root and there is no other account on this machine",
        "add one (useradd --system responsa), start as a plain user, or set DATABASE_URL",
    )


def running_as_root() -> bool:
    """Whether the effective user is root."""
    return os.geteuid() == 0


def has_account() -> bool:
    """Whether the effective user has a row in the passwd table, which initdb insists on."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True
