"""The instance that a reader of the docs has started with `make up`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.reader import Reader
from tests.forked import responsa
from tests.instance import Instance, instance_in, short_folder


@pytest.fixture(scope="session")
def manual() -> Iterator[Instance]:
    """An instance as shipped, with its docs, and with the settings that the pages give."""
    settings = {
        "RESPONSA_TESTING__AGENT": "true",
        "RESPONSA_MODELS__SCRIPTED": "true",
        "RESPONSA_SOURCES__PATHS": tempfile.gettempdir(),
    }
    with short_folder() as folder, instance_in(folder, **settings) as started:
        yield started


@pytest.fixture
def reader(manual: Instance) -> Iterator[Reader]:
    """A reader in a folder that looks like the checkout after `make up`."""
    folder = Path(tempfile.mkdtemp(prefix="rsr-"))
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(responsa()[0]).parent)
    (folder / ".responsa").symlink_to(manual.home)
    environment = {
        **manual.environment,
        "PATH": os.pathsep.join(
            [str(folder / ".venv" / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "COLUMNS": "200",
    }
    found = Reader(folder, manual, environment)
    try:
        yield found
    finally:
        found.close()
        shutil.rmtree(folder)
