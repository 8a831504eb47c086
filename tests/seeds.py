"""Makes the slow parts of a new instance once for each run: a PostgreSQL cluster with all migrations, and the file of the embedding model.
Instances of the run begin with copies, which take a fraction of the CPU time.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from responsa_local.embedded import EmbeddedPostgres, LocalLayout, purge
from responsa_server.providers.minilm import load
from responsa_server.stores.postgres.migrate import migrate

FOLDER: Final = "TESTS_SEED"
"""The variable that names the folder of these parts. All processes of a run share it."""
_made: list[str] = []
"""The folder, in the process that has made it."""


def begin() -> None:
    """Make the folder before the other processes of the run start. The first test that needs the parts makes them."""
    if FOLDER not in os.environ:
        _made.append(tempfile.mkdtemp(prefix="rss-"))
        os.environ[FOLDER] = _made[0]


def end() -> None:
    """Remove the parts at the end of the run."""
    while _made:
        folder = Path(_made.pop())
        os.environ.pop(FOLDER, None)
        purge(LocalLayout.of(folder / "home"))
        shutil.rmtree(folder)


def plant(layout: LocalLayout) -> None:
    """Copy the run's cluster and its embedding model into a prepared home that has none yet. PostgreSQL then starts as
    if it had run on this home before, with the database `responsa` and all migrations, but without rows.
    """
    source = _source()
    shutil.copy(source.secrets, layout.secrets)
    subprocess.run(["cp", "-a", source.cluster, layout.cluster], check=True)
    plant_model(layout)
    plant_programs(source, layout)


def plant_programs(source: LocalLayout, layout: LocalLayout) -> None:
    """Let a PostgreSQL that root starts use the programs of another one."""
    if layout.root_place is not None and source.root_place is not None:
        for programs in source.root_place.glob("pgserver-*"):
            _share(programs, layout.root_place)


def plant_model(layout: LocalLayout) -> None:
    """Put the file of the run's embedding model into a prepared home."""
    _share(models(), layout.data)


def models() -> Path:
    """The folder with the file that the server makes from the weights of the embedding model."""
    return _source().data / "models"


def _share(folder: Path, into: Path) -> None:
    """Make the files of a folder, which are only read, appear in another folder too."""
    linked = folder.stat().st_dev == into.stat().st_dev
    subprocess.run(["cp", "-al" if linked else "-a", folder, into], check=True)


def _source() -> LocalLayout:
    folder = Path(os.environ[FOLDER])
    made = folder / "made"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.exists():
            return LocalLayout.of(folder / "home")
        layout = LocalLayout.of(folder / "home").prepare()
        load(layout.data / "models", threads=1).close()
        postgres = EmbeddedPostgres(layout, settings=[("fsync", "off"), ("wal_recycle", "off")])
        postgres.start()
        try:
            asyncio.run(migrate(postgres.dsn("owner")))
        finally:
            postgres.stop()
        made.touch()
        return layout
