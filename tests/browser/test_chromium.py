"""Checks that the machine has what the browser tests need."""

from __future__ import annotations

import pytest

from tests.browser.conftest import chromium


def test_a_machine_without_chromium_fails_by_name_and_never_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.fail.Exception, match="Chromium is missing"):
        chromium()
