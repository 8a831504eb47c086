"""Instances behind the programs of other projects."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from responsa_client import Responsa
from tests.instance import Instance, instance_in
from tests.system.conftest import FERRY


@contextmanager
def ferry_instance(folder: Path, **settings: str) -> Generator[Instance]:
    """An instance with a document about a ferry."""
    with instance_in(folder, RESPONSA_DOCS="none", **settings) as made:
        with Responsa(made.url, made.key) as responsa:
            responsa.wait(responsa.create_document(FERRY, source_key="ferry.md"))
        yield made


@pytest.fixture(scope="module")
def backend(folder: Path) -> Iterator[Instance]:
    with ferry_instance(folder) as made:
        yield made
