"""Imports without the garbage collector."""

from __future__ import annotations

import gc

import pytest

from responsa_server.system.importing import pause_collection


def test_the_collector_stops_for_imports_only() -> None:
    before = gc.get_freeze_count()
    with pause_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    with pytest.raises(ImportError), pause_collection():
        raise ImportError
    assert gc.isenabled()
