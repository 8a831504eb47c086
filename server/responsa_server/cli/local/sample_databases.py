"""Puts a sample database and its declaration into the folder of connections on this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from responsa_server.app.settings import load
from responsa_server.cli.output import EXIT_FAILED, CommandFailed
from responsa_server.samples import SampleDatabase

_DECLARATION = """# A sample, made by `responsa samples load {name}`.
kind = "sqlite"
file = "{name}.db"
tenants = ["{tenant}"]
"""


def declare(sample: SampleDatabase, tenant: str) -> Path:
    """Make the database's file and its declaration, which grants it to one tenant. Existing files stay as they are. Returns the folder.

    Raises:
        CommandFailed: the folder cannot be written.
        SettingsError: a setting is not valid.
    """
    folder = load().connections_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            sample.write(folder / f"{sample.name}.db")
        with suppress(FileExistsError), (folder / f"{sample.name}.toml").open("x", encoding="utf-8") as file:
            file.write(_DECLARATION.format(name=sample.name, tenant=tenant))
    except OSError as error:
        raise CommandFailed(f"{folder} cannot be written ({error.strerror}).", "", EXIT_FAILED) from None
    return folder
