"""Reports the failures of commands that work on this machine's own instance, each as one sentence with its remedy."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from responsa_server.app.settings import SettingsError
from responsa_server.cli import output
from responsa_server.cli.output import CommandFailed
from responsa_server.embedded.errors import EmbeddedError

FAILED = 1
USAGE = 2


@contextmanager
def reporting(*, json: bool = False) -> Generator[None]:
    """Like `cli.output.reporting`, but also for errors of the embedded parts and of the settings."""
    with output.reporting(json=json):
        try:
            yield
        except EmbeddedError as error:
            raise CommandFailed(str(error), "", FAILED) from error
        except SettingsError as error:
            raise CommandFailed(str(error), "", USAGE) from error
