"""Imports without the garbage collector."""

from __future__ import annotations

import gc

import pytest

from responsa_server.system.importing import uncollected


def test_the_collector_stops_for_imports_only() -> None:
    before = gc.get_freeze_count()
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()
