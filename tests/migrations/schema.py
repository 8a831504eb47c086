"""What PostgreSQL says of a database's schema."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from responsa_server.embedded.postgres import package_root


def schema(url: str) -> Sequence[str]:
    """The lines of a dump of the schema: owners, grants, policies and the order of columns included. The log's
    partitions depend on the date, so they are left out.

    url: the database's URL with the role of a superuser.
    """
    command = (package_root() / "pginstall18" / "bin" / "pg_dump", "--schema-only", "--restrict-key=same")
    dump = subprocess.run(
        [*command, "--exclude-table=responsa.turn_event_*", url], capture_output=True, check=True, text=True
    )
    return dump.stdout.splitlines()
