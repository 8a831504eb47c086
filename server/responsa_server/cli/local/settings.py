"""Settings and places of the instance on this machine, with errors told as one sentence."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from responsa_server.app.settings import SettingsError
from responsa_server.cli.failures import CommandFailed, reporting
from responsa_server.embedded.errors import EmbeddedError

FAILED = 1
USAGE = 2


@contextmanager
def told(*, json: bool = False) -> Generator[None]:
    """Turn what can go wrong on this machine into one sentence with its remedy; with json also into a line on stdout."""
    with reporting(json=json):
        try:
            yield
        except EmbeddedError as error:
            raise CommandFailed(str(error), "", FAILED) from error
        except SettingsError as error:
            raise CommandFailed(str(error), "", USAGE) from error
