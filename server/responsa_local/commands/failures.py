"""Reports the failures of commands that work on this machine's own instance, each as one sentence with its remedy."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from responsa_server.app.settings import SettingsError
from responsa_server.cli import output
from responsa_server.cli.output import CommandFailed
from responsa_server.system.fixable import Fixable

FAILED = 1
USAGE = 2


@contextmanager
def reporting(*, json: bool = False) -> Generator[None]:
    """Like `cli.output.reporting`, but also for errors of the embedded parts and of the settings."""
    # Otherwise a command prints the warnings of libraries, such as one for each connection that a pool cannot make.
    logging.getLogger().addHandler(logging.NullHandler())
    with output.reporting(json=json):
        try:
            yield
        except Fixable as error:
            raise CommandFailed(str(error), "", FAILED) from error
        except SettingsError as error:
            raise CommandFailed(str(error), "", USAGE) from error
