"""The values of gauges."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from responsa_local.embedded import LocalLayout
from responsa_server.app.measured import Measured
from responsa_server.domain.breakers import Breakers
from responsa_server.telemetry import instruments


@pytest.mark.parametrize("away", range(4))
def test_each_user_of_redis_has_a_circuit(tmp_path: Path, away: int) -> None:
    part: list[Any] = [SimpleNamespace(away=place < away) for place in range(2)]
    database: Any = SimpleNamespace(away=["app"])
    turns: Any = SimpleNamespace(hints_away=away == 3)
    front: Any = None
    measured = Measured(database, *part, Breakers(), turns, front, LocalLayout.of(tmp_path))
    found = {labels: number for number, labels in measured.readings()[instruments.CIRCUITS]()}
    assert (found[("redis",)], found[("postgresql",)], found[("model",)]) == (away, 1, 0)
