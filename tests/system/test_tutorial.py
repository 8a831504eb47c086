"""Follows the tutorial docs/tutorial-agent.md like a reader: writes its files, runs its commands, and compares their output."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.docs.reader import Reader
from tests.forked import responsa
from tests.instance import ROOT
from tests.system.conftest import Bench


def test_the_tutorial_works_as_it_stands(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / ".responsa").symlink_to(bench.instance.home)
    environment = {
        **bench.instance.environment,
        "PATH": os.pathsep.join(
            [str(Path(responsa()[0]).parent), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "COLUMNS": "200",
    }
    reader = Reader(tmp_path, bench.instance, environment)
    try:
        reader.follow(ROOT / "docs" / "tutorial-agent.md")
    finally:
        reader.close()
    assert reader.ran > 10
