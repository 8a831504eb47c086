"""Homes for embedded instances. They are purged after each test."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from embedded_running import Running, Start

from responsa_local.embedded import LocalLayout, purge


def plant(layout: LocalLayout) -> None:
    # A run as a plain user has neither the run's parts nor the module that makes them.
    if "TESTS_SEED" in os.environ:
        from tests import seeds

        seeds.plant(layout)


@pytest.fixture
def home(tmp_path: Path) -> Generator[Path]:
    """A path for a home that does not exist yet. After the test, everything that an instance created there is removed."""
    place = tmp_path / "home"
    yield place
    purge(LocalLayout.of(place, repair=True))


@pytest.fixture
def layout(home: Path) -> LocalLayout:
    return LocalLayout.of(home).prepare()


@pytest.fixture
def earlier(layout: LocalLayout) -> None:
    """The home has the database that an earlier start would have made."""
    plant(layout)


@pytest.fixture
def start(home: Path) -> Generator[Start]:
    """Starts instances on `home`. At the end of the test, all instances are stopped, and no process may be left.

    The first one finds the database that an earlier start would have made, unless it is to be new.
    """
    begun: list[Running] = []

    def begin(*flags: str, port: int | None = None, within: Sequence[str] = (), new: bool = False) -> Running:
        if not begun and not new:
            plant(LocalLayout.of(home).prepare())
        running = Running(home, *flags, port=port, within=within)
        begun.append(running)
        return running

    yield begin
    for running in begun:
        if running.process.poll() is None:
            running.stop()
    for running in begun:
        running.until_nothing_left()


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root keeps its database outside the data folder")
