"""A streaming standby of an embedded PostgreSQL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import make_conninfo

from responsa_server.embedded import EmbeddedPostgres, Layout, purge
from responsa_server.embedded.base_backup import base_backup
from responsa_server.embedded.layout import SUPERUSER
from tests import seeds


class Standby(EmbeddedPostgres):
    """It has its primary's roles and passwords."""

    def prepare(self) -> None:
        """There is nothing to make: the primary has made it."""


@contextmanager
def standby_of(primary: Layout, home: Path) -> Generator[Standby]:
    """A standby that runs during the block. primary: of a running PostgreSQL. home: a folder for the standby's files,
    which must not exist."""
    layout = Layout.of(home).prepare()
    shutil.copy(primary.secrets, layout.secrets)
    seeds.plant_programs(primary, layout)
    login = make_conninfo(
        host=str(primary.postgres_run), user=SUPERUSER, password=primary.passwords.postgres_superuser
    )
    try:
        with base_backup(primary) as tar:
            tar.extractall(layout.cluster, filter="fully_trusted")
        (layout.cluster / "standby.signal").touch()
        layout.cluster.chmod(0o700)
        if (account := layout.account) is not None:
            for folder, _, names in os.walk(layout.cluster):
                for path in map(Path(folder).joinpath, ("", *names)):
                    os.chown(path, account.uid, account.gid)
        part = Standby(
            layout,
            # What a primary no longer needs is cleaned here at once, and statements that still need it are cancelled.
            settings=[("primary_conninfo", login), ("fsync", "off"), ("max_standby_streaming_delay", "0")],
        )
        part.start()
        try:
            yield part
        finally:
            part.stop()
    finally:
        purge(layout)
